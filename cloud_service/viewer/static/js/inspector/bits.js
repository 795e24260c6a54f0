// Where a frame's bits go, drawn over its picture: the brighter a block, the more it took.
const BLOCK = 16;

export function drawBits(canvas, frame) {
  const rows = frame.bits.length / frame.columns;
  // One pixel a block: the page enlarges it.
  const map = new OffscreenCanvas(frame.columns, rows);
  const pen = map.getContext("2d");
  const most = Math.max(1, ...frame.bits);
  const picture = pen.createImageData(frame.columns, rows);
  frame.bits.forEach((bits, block) => {
    // Bits of blocks lie decades apart.
    const share = Math.log1p(bits) / Math.log1p(most);
    picture.data.set(shade(share), 4 * block);
  });
  pen.putImageData(picture, 0, 0);
  const ratio = Math.min(window.devicePixelRatio || 1, 2);
  canvas.width = Math.round(canvas.clientWidth * ratio);
  canvas.height = Math.round(canvas.clientHeight * ratio);
  const target = canvas.getContext("2d");
  target.imageSmoothingEnabled = false;
  // The last row and column of blocks may lie partly outside the picture.
  const scale = canvas.width / frame.width;
  target.drawImage(map, 0, 0, frame.columns * BLOCK * scale, (rows * BLOCK * canvas.height) / frame.height);
}

// What took how many bits at a place of the picture, both of its coordinates within 0..1.
export function told(frame, x, y) {
  const [column, row] = [Math.floor((x * frame.width) / BLOCK), Math.floor((y * frame.height) / BLOCK)];
  const bits = frame.bits[row * frame.columns + column];
  if (bits === undefined || column >= frame.columns) return "";
  return `${bits.toFixed(1)} bits in the block at ${column * BLOCK}, ${row * BLOCK}`;
}

// Dark blue over purple to yellow, readable by those who see few colours: lightness rises with the share.
function shade(share) {
  const red = 255 * Math.min(1, 1.6 * share);
  const green = 255 * Math.max(0, 1.5 * share - 0.5);
  const blue = 255 * Math.max(0, 0.5 - 0.6 * Math.abs(share - 0.4));
  return [red, green, blue, share === 0 ? 0 : 90 + 130 * share];
}
