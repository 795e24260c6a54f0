// Boxes drawn over a picture: a class has the same colour everywhere, and its name stands at each box.
const COLOURS = ["#ffd400", "#00d5ff", "#ff7fb5", "#8dff70", "#ff9d57", "#c3adff"];
const FONT = "600 12px system-ui, sans-serif";
const LABEL_PX = 18;

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
  pen.font = FONT;
  pen.textBaseline = "middle";
  // What is less likely lies below.
  for (const [name, score, ...edges] of [...frame.boxes].sort((one, other) => one[1] - other[1])) {
    const [x, y, right, bottom] = edges.map((edge, index) => (index % 2 ? top : left) + edge * scale);
    pen.lineWidth = 4;
    pen.strokeStyle = "rgb(0 0 0 / 0.55)";
    pen.strokeRect(x, y, right - x, bottom - y);
    pen.lineWidth = 2;
    pen.strokeStyle = colourOf(name);
    pen.strokeRect(x, y, right - x, bottom - y);
    drawLabel(pen, `${name} ${score.toFixed(2)}`, x - 1, y - LABEL_PX >= 0 ? y - LABEL_PX : y, clientWidth, colourOf(name));
  }
}

function drawLabel(pen, text, x, y, areaWidth, colour) {
  const width = pen.measureText(text).width + 8;
  const left = Math.max(0, Math.min(x, areaWidth - width));
  pen.fillStyle = colour;
  pen.fillRect(left, y, width, LABEL_PX);
  pen.fillStyle = "#111";
  pen.fillText(text, left + 4, y + LABEL_PX / 2 + 1);
}

export function colourOf(name) {
  let sum = 0;
  for (const letter of name) sum = (sum * 31 + letter.codePointAt(0)) >>> 0;
  return COLOURS[sum % COLOURS.length];
}
