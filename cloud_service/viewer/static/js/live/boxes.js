// Boxes drawn over a picture: a class has the same colour everywhere, and its name stands at each box.
import { colourOf } from "../classes.js";

const FONT = "600 11px system-ui, sans-serif";
const LABEL_PX = 15;

// Where a picture of this size lies in an area of that size, whole and as large as it can be.
export function fitted(width, height, areaWidth, areaHeight) {
  const scale = Math.min(areaWidth / width, areaHeight / height);
  return { left: (areaWidth - width * scale) / 2, top: (areaHeight - height * scale) / 2, scale };
}

// Draws the boxes of a frame, or nothing. The canvas lies over the picture's area; lengths are those of the page.
export function drawBoxes(canvas, frame, shown) {
  const { clientWidth, clientHeight } = canvas;
  const ratio = Math.min(window.devicePixelRatio || 1, 2);
  const [width, height] = [Math.round(clientWidth * ratio), Math.round(clientHeight * ratio)];
  if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, clientWidth, clientHeight);
  if (!shown || !frame?.boxes || clientWidth === 0) return;
  const { left, top, scale } = fitted(frame.width, frame.height, clientWidth, clientHeight);
  const boxes = frame.boxes.map(([name, score, ...edges]) => {
    const [x, y, right, bottom] = edges.map((edge, index) => (index % 2 ? top : left) + edge * scale);
    return { text: `${name} ${score.toFixed(2)}`, score, colour: colourOf(name, true), x, y, right, bottom };
  });
  // What is less likely lies below.
  boxes.sort((one, other) => one.score - other.score);
  for (const box of boxes) drawBox(pen, box);
  pen.font = FONT;
  pen.textBaseline = "middle";
  const labels = placed(pen, boxes.reverse(), { left, top, right: clientWidth - left, bottom: clientHeight - top });
  for (const label of labels) drawLabel(pen, label);
}

function drawBox(pen, { colour, x, y, right, bottom }) {
  pen.lineWidth = 3.5;
  pen.strokeStyle = "rgb(0 0 0 / 0.5)";
  pen.strokeRect(x, y, right - x, bottom - y);
  pen.lineWidth = 2;
  pen.strokeStyle = colour;
  pen.strokeRect(x, y, right - x, bottom - y);
}

// Labels with their places, in the order in which they are drawn: above its box, else below it, so that none hides another
// one that is likelier; those for which there is no such place come first, and lie below all others.
function placed(pen, boxes, area) {
  const [free, hidden] = [[], []];
  for (const box of boxes) {
    const width = pen.measureText(box.text).width + 6;
    const x = Math.max(area.left, Math.min(box.x - 1, area.right - width));
    const above = box.y - LABEL_PX >= area.top ? box.y - LABEL_PX : box.y;
    const isFree = (y) => y + LABEL_PX <= area.bottom && free.every((label) =>
      x >= label.x + label.width || label.x >= x + width || Math.abs(y - label.y) >= LABEL_PX);
    const y = [above, box.bottom].find(isFree);
    (y === undefined ? hidden : free).push({ ...box, x, y: y ?? above, width });
  }
  return [...hidden.reverse(), ...free];
}

function drawLabel(pen, { text, colour, x, y, width }) {
  pen.globalAlpha = 0.85;
  pen.fillStyle = colour;
  pen.fillRect(x, y, width, LABEL_PX);
  pen.globalAlpha = 1;
  pen.fillStyle = "#111";
  pen.fillText(text, x + 3, y + LABEL_PX / 2 + 1);
}
