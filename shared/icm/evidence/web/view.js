// Shows an evidence file. Whatever the file says is shown as text, never as HTML.
const element = (id) => document.getElementById(id);

// What is shown of a file.
class View {
  constructor() {
    this.clips = [];
    this.detections = new Map();
    this.address = "";
    this.shown = 0;
  }

  clear() {
    for (const id of ["verdict", "about", "checks", "clips"]) element(id).hidden = true;
    for (const id of ["facts", "findings", "clip"]) element(id).replaceChildren();
    element("video").removeAttribute("src");
    element("found").textContent = element("time").textContent = element("status").textContent = "";
    this.clips = [];
    this.detections.clear();
  }

  verdict(check) {
    const wrong = check.wrong();
    const lacks = check.findings.filter(([kind]) => kind === "lacks").length;
    const title = element("verdict-text");
    title.className = wrong.length ? "unsound" : "sound";
    title.textContent = wrong.length ? "This file is NOT what it should be" : "Nothing is wrong with this file";
    const unknown = check.key || check.unsigned ? "" : "That holds if the key that signed it is the archive's";
    const parts = [unknown, lacks ? `${lacks} things are not in it or were not checked` : ""].filter(Boolean);
    element("verdict-more").textContent = wrong.length ? wrong[0][1] : parts.join("; ");
    element("verdict").hidden = false;
    element("findings").replaceChildren(...check.findings.map(([kind, what]) => {
      const item = document.createElement("li"), mark = document.createElement("b"), said = document.createElement("span");
      item.className = kind;
      mark.textContent = kind === "wrong" ? "WRONG" : kind;
      said.textContent = what;
      item.append(mark, said);
      return item;
    }));
    element("checks").hidden = false;
    title.focus();
  }

  about(found) {
    const counted = (name) => found.cameras.reduce((sum, camera) => sum + camera[name].length, 0);
    const facts = [["Case", found.case], ["Exported by", found.exported_by], ["Certificate", found.caller || "none"],
      ["Exported at", found.exported_at], ["From", found.range.start], ["To", found.range.end],
      ["Cameras", found.cameras.map((camera) => camera.name).join(", ")], ["Store", found.store],
      ["Segments", counted("segments")], ["Deleted", counted("tombstones")], ["Software", found.software]];
    element("facts").replaceChildren(...facts.flatMap(([name, value]) => {
      const term = document.createElement("dt"), said = document.createElement("dd");
      term.textContent = name;
      said.textContent = String(value);
      said.dir = "auto";
      return [term, said];
    }));
    element("about").hidden = false;
  }

  async films(check) {
    for (const camera of check.case.cameras) {
      for (const clip of camera.clips) this.clips.push({ camera: camera.name, zip: check.zip, ...clip });
      if (!camera.detections) continue;
      await check.part(async () => {
        const { frames } = await check.zip.json(camera.detections.json_path);
        this.detections.set(camera.name, frames.map((frame) => ({ at: microseconds(frame.captured), ...frame })));
      });
    }
    element("clip").replaceChildren(...this.clips.map((clip, number) => {
      const option = document.createElement("option");
      option.value = String(number);
      option.textContent = `${clip.camera}, ${clip.start}, ${clip.frames} frames`;
      return option;
    }));
    element("clips").hidden = !this.clips.length;
    if (this.clips.length) await this.play(0);
  }

  async play(number) {
    this.shown = number;
    const clip = this.clips[number];
    try {
      const blob = await clip.zip.blob(clip.path, "video/mp4");
      URL.revokeObjectURL(this.address);
      this.address = URL.createObjectURL(blob);
      element("video").src = this.address;
    } catch (error) {
      element("time").textContent = error.message;
    }
  }

  // Draws what was found in the frame that is shown.
  draw(seconds) {
    const clip = this.clips[this.shown], video = element("video"), overlay = element("overlay");
    if (!clip) return;
    const at = microseconds(clip.start) + BigInt(Math.round(seconds * 1e6));
    element("time").textContent = `${timeText(at)} (capture time, UTC)`;
    const frames = this.detections.get(clip.camera) ?? [];
    const frame = frames.findLast((one) => one.at <= at + 1000n && at - one.at < 1000000n);
    element("found").textContent = (frame?.detections ?? []).map((one) => `${one.class} ${one.score.toFixed(2)}`).join(", ");
    const scale = Math.min(video.clientWidth / video.videoWidth, video.clientHeight / video.videoHeight) || 1;
    overlay.width = Math.round(video.videoWidth * scale);
    overlay.height = Math.round(video.videoHeight * scale);
    overlay.style.left = `${(video.clientWidth - overlay.width) / 2}px`;
    overlay.style.top = `${(video.clientHeight - overlay.height) / 2}px`;
    if (!frame || !element("boxes").checked) return;
    const pen = overlay.getContext("2d");
    pen.lineWidth = 2;
    pen.font = "13px sans-serif";
    for (const one of frame.detections) {
      const [left, top, right, bottom] = one.box.map((side) => side * scale);
      pen.strokeStyle = "#ffd400";
      pen.strokeRect(left, top, right - left, bottom - top);
      const label = `${one.class} ${one.score.toFixed(2)}`;
      pen.fillStyle = "#000a";
      pen.fillRect(left, top, pen.measureText(label).width + 6, 17);
      pen.fillStyle = "#ffd400";
      pen.fillText(label, left + 3, top + 13);
    }
  }
}
