// A colour and a shape for each class: colours that are told apart by all, and shapes for who sees none.
const COLOURS = {
  light: ["#0a62a9", "#b04a00", "#00735a", "#8b3f7a", "#6b6100", "#a4262c", "#4a4f9c"],
  dark: ["#6cb8f5", "#f3a35c", "#4fd0a8", "#e29fd3", "#e3d454", "#ff9a94", "#b3b6f5"],
};
const FIRST = ["person", "car", "bicycle", "truck", "dog", "bus", "cat"];

const placeOf = (name) => {
  const known = FIRST.indexOf(name);
  if (known >= 0) return known;
  let hash = 7;
  for (const letter of name) hash = (hash * 31 + letter.codePointAt(0)) >>> 0;
  return hash % FIRST.length;
};

export function isDark() {
  const said = document.documentElement.dataset.theme;
  return said ? said === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

export const colourOf = (name, dark = isDark()) => COLOURS[dark ? "dark" : "light"][placeOf(name)];

// Draws a class's shape around a point.
export function drawShape(context, name, x, y, size) {
  const r = size / 2;
  context.beginPath();
  switch (placeOf(name)) {
    case 0: context.arc(x, y, r, 0, 2 * Math.PI); break;
    case 1: context.rect(x - r * 0.9, y - r * 0.9, 1.8 * r, 1.8 * r); break;
    case 2: path(context, [[x, y - r], [x + r, y + r * 0.8], [x - r, y + r * 0.8]]); break;
    case 3: path(context, [[x, y - r * 1.1], [x + r * 1.1, y], [x, y + r * 1.1], [x - r * 1.1, y]]); break;
    case 4: path(context, [[x, y + r], [x + r, y - r * 0.8], [x - r, y - r * 0.8]]); break;
    case 5: context.rect(x - r * 1.1, y - r * 0.55, 2.2 * r, 1.1 * r); break;
    default: context.rect(x - r * 0.5, y - r * 1.1, r, 2.2 * r);
  }
  context.fill();
}

function path(context, points) {
  context.moveTo(...points[0]);
  for (const point of points.slice(1)) context.lineTo(...point);
  context.closePath();
}
