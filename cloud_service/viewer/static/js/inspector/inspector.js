// The frame inspector: two decoders by a slider, bits and boxes drawn over the picture, and the keys.
import { drawBoxes } from "../live/boxes.js";
import { drawBits, told } from "./bits.js";
import { isTyping } from "../page.js";

const frame = JSON.parse(document.getElementById("drawn").textContent);
const figure = document.querySelector("[data-inspected]");
const [bits, boxes] = ["bits", "boxes"].map((name) => figure.querySelector(`[data-${name}]`));
const showBits = figure.querySelector("[data-show-bits]");
const showBoxes = [...figure.querySelectorAll("[data-show-boxes]")];
const output = figure.querySelector("[data-told]");
const slider = figure.querySelector("[data-split]");

for (const element of figure.querySelectorAll("[data-needs-script]")) element.hidden = false;

function draw() {
  bits.hidden = !showBits.checked;
  if (showBits.checked) drawBits(bits, frame);
  const shown = showBoxes.filter((box) => box.checked).flatMap((box) => frame.models[box.dataset.showBoxes].boxes);
  drawBoxes(boxes, { ...frame, boxes: shown }, true);
}

function split() {
  const share = Number(slider.value);
  figure.style.setProperty("--split", `${share}%`);
  figure.classList.toggle("is-split", share > 0 && share < 100);
  const said = { 0: "finetuned only", 100: "base only" };
  slider.setAttribute("aria-valuetext", said[share] ?? `base up to ${share} % of the width`);
}

// What lies under the pointer, where bits are shown.
boxes.addEventListener("pointermove", (event) => {
  if (!showBits.checked) return;
  output.textContent = told(frame, event.offsetX / boxes.clientWidth, event.offsetY / boxes.clientHeight);
});

function toggle(inputs, on) {
  for (const input of inputs) input.checked = on;
  draw();
}

const keys = {
  b: () => toggle(showBoxes, !showBoxes.some((box) => box.checked)),
  v: () => toggle([showBits], !showBits.checked),
};
document.addEventListener("keydown", (event) => {
  if (isTyping(event.target) && event.target.type !== "checkbox" && event.target.type !== "range") return;
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const link = [...document.querySelectorAll("[data-key]")].find((each) => each.dataset.key === event.key);
  if (link) link.click();
  else keys[event.key]?.();
});

for (const input of [showBits, ...showBoxes]) input.addEventListener("change", draw);
if (slider) {
  slider.addEventListener("input", split);
  // A browser that comes back to the page keeps where the slider stood.
  split();
}
new ResizeObserver(draw).observe(boxes);
draw();
