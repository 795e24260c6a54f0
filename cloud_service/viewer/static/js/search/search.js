// The search form: a region drawn on the picture of the one camera that is chosen.
const form = document.querySelector("[data-criteria]");
const [where, hint, area, image, canvas] = ["", "-hint", "-picture", "-image", "-canvas"].map((name) =>
  form.querySelector(`[data-where${name}]`),
);
const field = form.elements.region;
const LEAST = 0.02;
const STEP = 0.02;
let start = null;

where.hidden = false;

function chosenCamera() {
  const cameras = [...form.querySelectorAll('[name="camera"]')];
  const chosen = cameras.filter((camera) => camera.checked);
  return (chosen.length ? chosen : cameras).length === 1 ? (chosen.length ? chosen : cameras)[0].value : null;
}

function showCamera() {
  const camera = chosenCamera();
  area.hidden = camera === null;
  hint.textContent = camera === null ? "Choose one camera to draw a region on its picture." : "Drag over the picture; a click takes the region away.";
  if (camera !== null) {
    const address = `/cameras/${encodeURIComponent(camera)}/latest.jpg`;
    if (image.getAttribute("src") !== address) image.src = address;
  }
  draw();
}

function region() {
  const edges = field.value.split(",").map(Number);
  return edges.length === 4 && edges.every(Number.isFinite) ? edges : null;
}

function draw() {
  [canvas.width, canvas.height] = [canvas.clientWidth, canvas.clientHeight];
  const edges = region();
  if (!edges || canvas.width === 0) return;
  const pen = canvas.getContext("2d");
  const [left, top, right, bottom] = edges.map((edge, index) => edge * (index % 2 ? canvas.height : canvas.width));
  pen.fillStyle = "rgb(0 0 0 / 0.45)";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.clearRect(left, top, right - left, bottom - top);
  pen.lineWidth = 2;
  pen.strokeStyle = "#ffd400";
  pen.strokeRect(left, top, right - left, bottom - top);
}

function place(event) {
  const box = canvas.getBoundingClientRect();
  return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height].map((part) => Math.min(1, Math.max(0, part)));
}

function set(left, top, right, bottom) {
  field.value = [left, top, right, bottom].map((edge) => edge.toFixed(3)).join(",");
  draw();
}

canvas.addEventListener("pointerdown", (event) => {
  start = place(event);
  canvas.setPointerCapture(event.pointerId);
});
canvas.addEventListener("pointermove", (event) => {
  if (start === null) return;
  const [x, y] = place(event);
  set(Math.min(start[0], x), Math.min(start[1], y), Math.max(start[0], x), Math.max(start[1], y));
});
canvas.addEventListener("pointerup", () => {
  start = null;
  const edges = region();
  if (edges && (edges[2] - edges[0] < LEAST || edges[3] - edges[1] < LEAST)) field.value = "";
  draw();
});
// By keys: arrows move the region, with Shift its right lower corner.
canvas.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] }[event.key];
  if (!step) return;
  event.preventDefault();
  const [left, top, right, bottom] = region() ?? [0.25, 0.25, 0.75, 0.75];
  const moved = event.shiftKey ? [left, top, right + step[0], bottom + step[1]] : [left + step[0], top + step[1], right + step[0], bottom + step[1]];
  if (moved.every((edge) => edge >= 0 && edge <= 1) && moved[2] - moved[0] >= LEAST && moved[3] - moved[1] >= LEAST) set(...moved);
});
field.addEventListener("input", draw);
form.addEventListener("change", showCamera);
image.addEventListener("load", draw);
image.addEventListener("error", () => {
  hint.textContent = "There is no picture of this camera: type the region's edges.";
  area.hidden = true;
});
new ResizeObserver(draw).observe(canvas);
showCamera();
