// What every part needs: bytes, digests and times. A problem is told to whoever reads.
const text = new TextDecoder("utf-8", { fatal: true });
const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
const bytesOf = (digits) => Uint8Array.from(digits.match(/../g) ?? [], (pair) => parseInt(pair, 16));
const sha256 = async (data) => new Uint8Array(await crypto.subtle.digest("SHA-256", data));
const ascii = (line) => new TextEncoder().encode(line);

class Problem extends Error {}

// The SHA-256 of parts, one after the other.
async function joined(...parts) {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) { whole.set(part, at); at += part.length; }
  return sha256(whole);
}

// Microseconds since 1970 of a time such as 2026-09-21T14:13:20.000000Z.
function microseconds(time) {
  return BigInt(Date.parse(`${time.slice(0, 19)}Z`)) * 1000n + BigInt(time.slice(20, 26));
}

function timeText(at) {
  const rest = String(((at % 1000000n) + 1000000n) % 1000000n).padStart(6, "0");
  return `${new Date(Number(at / 1000n)).toISOString().slice(0, 19)}.${rest}Z`;
}
