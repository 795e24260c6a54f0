// Checks an evidence file: digests, signatures, Merkle paths and seals.
const FORMAT = "icm-evidence/1", SIGNER = "proof/signer.pem";

class Check {
  constructor(zip, key) {
    Object.assign(this, { zip, key, findings: [], digests: new Map(), unsigned: false });
  }

  say(kind, what) { this.findings.push([kind, what]); }

  wrong() { return this.findings.filter(([kind]) => kind === "wrong"); }

  async part(work) {
    try {
      await work();
    } catch (error) {
      if (error instanceof Problem) this.say("wrong", error.message);
      else this.say("wrong", `something is not as an export writes it (${error.message})`);
    }
  }

  async all(told) {
    await this.part(() => this.manifest());
    if (!this.files) return;
    await this.part(() => this.eachFile(told));
    await this.part(async () => {
      const found = await this.zip.json("case.json");
      if (found.format !== FORMAT) throw new Problem(`case.json is not of format ${FORMAT}`);
      this.case = found;
    });
    if (!this.case) return;
    for (const { camera, segment, what, why } of this.case.missing) {
      this.say("lacks", `camera ${camera}, segment ${segment}: ${what}: ${why} (the export said so)`);
    }
    for (const camera of this.case.cameras) {
      for (const gap of camera.gaps) this.say("note", `camera ${camera.name} has no records from ${gap.after} to ${gap.before}`);
      for (const gone of camera.tombstones) {
        this.say("note", `camera ${camera.name}, segment ${gone.number}: deleted at ${gone.at} by ${gone.by}: ${gone.reason}`);
      }
      told(`the chain of camera ${camera.name}`);
      await this.part(() => this.proof(camera));
      told(`the seals of camera ${camera.name}`);
      await this.part(() => checkSeals(this, camera));
    }
  }

  async manifest() {
    const bytes = await this.zip.bytes("manifest.json", MOST_JSON);
    const found = await this.zip.json("manifest.json");
    if (found.format !== FORMAT) throw new Problem(`manifest.json is not of format ${FORMAT}`);
    if (canonical(found) !== text.decode(bytes)) throw new Problem("manifest.json is not canonical JSON (RFC 8785)");
    const signature = await this.zip.bytes("manifest.sig", 64);
    const held = await signedBy(found.signer, bytes, signature);
    if (held === null) {
      this.unsigned = true;
      this.say("lacks", "signatures were NOT checked: this browser has no Ed25519; use a newer one, or icm verify");
    } else if (!held) {
      this.say("wrong", "manifest.sig: the signature of manifest.json does not hold");
    } else if (this.key && this.key !== found.signer) {
      this.say("wrong", `manifest.json is signed by ${found.signer}, and not by the key that you gave`);
    } else if (this.key) {
      this.say("ok", "manifest.json is signed by the key that you gave");
    } else {
      this.say("note", `manifest.json is signed by ${found.signer}, whose owner you must know`);
    }
    if (this.zip.entries.has(SIGNER) && text.decode(await this.zip.bytes(SIGNER, 4096)) !== publicPem(found.signer)) {
      this.say("wrong", `${SIGNER} is another key than the one that manifest.json names`);
    }
    this.signer = found.signer;
    this.files = found.files;
    if (found.counts.files !== found.files.length) this.say("wrong", "manifest.json does not count its own files");
  }

  async eachFile(told) {
    const listed = new Set(this.files.map((file) => file.path));
    for (const name of this.zip.entries.keys()) {
      if (!listed.has(name) && name !== "manifest.json" && name !== "manifest.sig") {
        this.say("wrong", `${name} was added: manifest.json does not list it`);
      }
    }
    let [sound, done] = [0, 0];
    for (const file of this.files) {
      done += 1;
      if (done % 20 === 1) told(`file ${done} of ${this.files.length}`);
      if (!this.zip.entries.has(file.path)) {
        this.say("wrong", `${file.path} was removed: manifest.json lists it`);
      } else if (this.zip.entries.get(file.path).length > MOST_HASHED) {
        this.say("lacks", `${file.path} is too large to be checked here; icm verify checks it`);
      } else {
        const digest = hex(await sha256(await this.zip.bytes(file.path, MOST_HASHED)));
        this.digests.set(file.path, digest);
        if (digest !== file.sha256) this.say("wrong", `${file.path} was changed: its SHA-256 is not the one in manifest.json`);
        else sound += 1;
      }
    }
    if (sound === this.files.length) this.say("ok", `each of the ${sound} files has the SHA-256 that manifest.json lists`);
  }

  async proof(camera) {
    const path = `proof/${camera.name}.json`;
    const sealed = camera.segments.filter((segment) => segment.sealed);
    if (!this.zip.entries.has(path)) {
      const said = this.case.missing.find((one) => one.camera === camera.name && one.segment === 0);
      const what = `${path} is not there: nothing proves that the records of camera ${camera.name} are those of the archive`;
      if (sealed.length || camera.tombstones.length) this.say(said ? "lacks" : "wrong", said ? `${what} (${said.why})` : what);
      return;
    }
    const before = this.wrong().length;
    const { entries, blocks } = await this.zip.json(path);
    const heads = await this.heads(path, blocks, camera.name);
    const leaves = new Map(), tombstones = new Map(), pruned = [];
    for (const { line, block, index, path: beside } of entries) {
      const words = line.split(" "), known = heads.get(block);
      if (!known || words[1] !== camera.name) throw new Problem(`${path}: an entry is of no block here: ${line}`);
      const leaf = await joined(Uint8Array.of(0), ascii(line));
      const root = await rootByPath(leaf, index, known.entries, beside.map(bytesOf));
      if (!root || hex(root) !== known.root) throw new Problem(`${path}: the path of segment ${words[2]} leads to no root`);
      if (words[0] === "icm-pruned-1") pruned.push(...words[3].split(",").map((range) => range.split("-").map(Number)));
      else (words[0] === "icm-leaf-1" ? leaves : tombstones).set(Number(words[2]), words);
    }
    for (const segment of sealed) {
      const leaf = leaves.get(segment.number);
      if (!leaf) this.say("wrong", `${segment.path} is not in the chain of camera ${camera.name}`);
      else if (leaf[9] !== this.digests.get(segment.path)) {
        const what = `${segment.path} is not the file that the chain has as segment ${segment.number}`;
        this.say(segment.problem ? "lacks" : "wrong", segment.problem ? `${what} (the export said so)` : what);
      }
      if (leaf) checkLeaf(this, segment, leaf);
    }
    for (const segment of camera.segments) {
      if (!segment.sealed) this.say("lacks", `${segment.path} was still growing: it is in no chain yet`);
    }
    const isPruned = (first, last) => pruned.some(([low, high]) => low <= first && last <= high);
    checkDeletions(this, camera, tombstones, isPruned);
    checkComplete(this, camera, leaves, tombstones, isPruned);
    if (this.wrong().length === before) {
      const newest = [...heads.keys()].pop();
      this.say("ok", `${sealed.length} segments and ${camera.tombstones.length} deletions of camera ${camera.name} are in`
        + ` the chain, whose head ${newest} is ${heads.get(newest)?.hash}`);
    }
  }

  // Blocks by number, each with a head that stands for it, is signed, and follows the one before.
  async heads(path, blocks, of) {
    const found = new Map();
    let before = null;
    for (const { line, head } of blocks) {
      const [, store, camera, number, entries, , , , , root, previous] = line.split(" ");
      const [, ofStore, ofCamera, ofBlock, , hash, key, signature] = head.split(" ");
      const same = store === ofStore && camera === ofCamera && number === ofBlock;
      if (!same || hash !== hex(await sha256(ascii(line)))) throw new Problem(`${path}: the head of block ${number} is another's`);
      if (store !== this.case.store || camera !== of) {
        throw new Problem(`${path}: block ${number} is of camera ${camera} in store ${store}`);
      }
      if (before && (previous !== before.hash || Number(number) !== before.number + 1)) {
        throw new Problem(`${path}: block ${number} does not follow block ${before.number}`);
      }
      const signed = head.slice(0, head.lastIndexOf(" "));
      if ((await signedBy(key, ascii(signed), bytesOf(signature))) === false) {
        throw new Problem(`${path}: the signature of block ${number} does not hold`);
      }
      if (key !== this.signer && !(before && before.key === key)) {
        this.say("note", `heads are signed by another key than the manifest, ${key}, whose owner you must know`);
      }
      before = { number: Number(number), entries: Number(entries), root, hash, key };
      found.set(before.number, before);
    }
    return found;
  }

  within([first, last]) {
    return BigInt(last) >= microseconds(this.case.range.start) && BigInt(first) < microseconds(this.case.range.end);
  }
}
