// JSON as RFC 8785 has it, for what manifests hold: objects, lists, texts and whole numbers.
function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  return `{${Object.keys(value).sort().map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`).join(",")}}`;
}

// A public key as OpenSSL has it in a file.
function publicPem(key) {
  const der = bytesOf(`302a300506032b6570032100${key}`);
  return `-----BEGIN PUBLIC KEY-----\n${btoa(String.fromCharCode(...der))}\n-----END PUBLIC KEY-----\n`;
}

// True or false; null where the browser has no Ed25519.
async function signedBy(key, data, signature) {
  try {
    const imported = await crypto.subtle.importKey("raw", bytesOf(key), { name: "Ed25519" }, false, ["verify"]);
    return await crypto.subtle.verify({ name: "Ed25519" }, imported, signature, data);
  } catch (error) {
    if (error.name === "NotSupportedError") return null;
    return false;
  }
}

// The root of the tree in which the path leads to a leaf, as RFC 9162 (2.1.3.2) has it; null if no tree has such a path.
async function rootByPath(leaf, index, count, path) {
  if (!(index >= 0 && index < count)) return null;
  let [last, found] = [count - 1, leaf];
  for (const beside of path) {
    if (last === 0) return null;
    if (index % 2 === 1 || index === last) {
      found = await joined(Uint8Array.of(1), beside, found);
      while (index % 2 === 0 && index !== 0) [index, last] = [Math.floor(index / 2), Math.floor(last / 2)];
    } else {
      found = await joined(Uint8Array.of(1), found, beside);
    }
    [index, last] = [Math.floor(index / 2), Math.floor(last / 2)];
  }
  return last === 0 ? found : null;
}
