const SAFE = /^[A-Za-z0-9_-][A-Za-z0-9._-]*(\/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$/;
const MOST_JSON = 256 * 2 ** 20, MOST_HASHED = 512 * 2 ** 20, MOST_FILES = 500000;

// A zip whose files are stored as they are.
class Zip {
  static async open(file) {
    const zip = new Zip();
    zip.file = file;
    zip.entries = new Map();
    const read = async (from, count) => {
      if (from < 0 || from + count > file.size) throw new Problem("this is no evidence file, or it was cut off");
      return new DataView(await file.slice(from, from + count).arrayBuffer());
    };
    const end = await read(file.size - 22, 22);
    if (end.getUint32(0, true) !== 0x06054b50) throw new Problem("this is no zip as an export writes it");
    let [count, size, start] = [end.getUint16(10, true), end.getUint32(12, true), end.getUint32(16, true)];
    let after = file.size - 22;
    if (count === 0xffff || size === 0xffffffff || start === 0xffffffff) {
      after -= 76;
      const large = await read(after, 76);
      if (large.getUint32(0, true) !== 0x06064b50) throw new Problem("the end of the zip is damaged");
      [count, size, start] = [32, 40, 48].map((at) => Number(large.getBigUint64(at, true)));
    }
    if (start + size !== after || count > MOST_FILES) throw new Problem("the directory of the zip is damaged");
    const list = await read(start, size);
    for (let at = 0, number = 0; number < count; number += 1) {
      if (at + 46 > size || list.getUint32(at, true) !== 0x02014b50) throw new Problem("the zip's directory is damaged");
      const [nameBytes, extraBytes, commentBytes] = [28, 30, 32].map((field) => list.getUint16(at + field, true));
      let [stored, length] = [list.getUint32(at + 20, true), list.getUint32(at + 24, true)];
      let offset = list.getUint32(at + 42, true);
      if (at + 46 + nameBytes + extraBytes > size) throw new Problem("the zip's directory is damaged");
      let name = "";
      for (let place = 0; place < nameBytes; place += 1) name += String.fromCharCode(list.getUint8(at + 46 + place));
      let extra = at + 46 + nameBytes + 4;
      const large = () => { extra += 8; return Number(list.getBigUint64(extra - 8, true)); };
      if (length === 0xffffffff) { length = large(); stored = large(); }
      if (offset === 0xffffffff) offset = large();
      if (list.getUint16(at + 10, true) !== 0 || stored !== length) throw new Problem(`${name} is compressed`);
      if (!SAFE.test(name) || zip.entries.has(name)) throw new Problem(`the zip holds a file that it should not: ${name}`);
      zip.entries.set(name, { offset, length });
      at += 46 + nameBytes + extraBytes + commentBytes;
    }
    return zip;
  }

  async blob(name, type = "") {
    const entry = this.entries.get(name);
    if (!entry) throw new Problem(`${name} is not there`);
    const local = new DataView(await this.file.slice(entry.offset, entry.offset + 30).arrayBuffer());
    if (local.byteLength < 30 || local.getUint32(0, true) !== 0x04034b50) throw new Problem(`${name} does not begin`);
    const begin = entry.offset + 30 + local.getUint16(26, true) + local.getUint16(28, true);
    if (begin + entry.length > this.file.size) throw new Problem(`${name} is cut off`);
    return this.file.slice(begin, begin + entry.length, type);
  }

  async bytes(name, most) {
    const blob = await this.blob(name);
    if (blob.size > most) throw new Problem(`${name} is too large to be read here`);
    return new Uint8Array(await blob.arrayBuffer());
  }

  async json(name) {
    try {
      return JSON.parse(text.decode(await this.bytes(name, MOST_JSON)));
    } catch (error) {
      throw error instanceof Problem ? error : new Problem(`${name} is no JSON`);
    }
  }
}
