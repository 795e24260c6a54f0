const view = new View();
let turn = 0;

async function checkChosen() {
  const file = element("file").files[0], mine = (turn += 1);
  if (!file) return;
  view.clear();
  const told = (what) => { if (mine === turn) element("status").textContent = `Checking ${what} …`; };
  const key = element("key").value.trim().toLowerCase();
  const check = new Check(null, key);
  if (!crypto.subtle) check.say("wrong", "this browser does not let this page compute digests: open it from a disk, or use another");
  else {
    await check.part(async () => { check.zip = await Zip.open(file); });
    if (check.zip) await check.all(told);
  }
  if (mine !== turn) return;
  element("status").textContent = "";
  // The page may be given what no export writes: that is a finding too.
  if (check.case) await check.part(async () => { view.about(check.case); await view.films(check); });
  if (mine === turn) view.verdict(check);
}

element("form").addEventListener("submit", (event) => event.preventDefault());
element("file").addEventListener("change", checkChosen);
element("key").addEventListener("change", checkChosen);
element("clip").addEventListener("change", () => view.play(Number(element("clip").value)));
const video = element("video");
// Where the browser says which frame it shows, that; else how far it has played.
let shownAt = null;
const redraw = () => view.draw(shownAt ?? video.currentTime);
for (const name of ["loadeddata", "seeked", "timeupdate"]) video.addEventListener(name, redraw);
video.addEventListener("emptied", () => { shownAt = null; });
element("boxes").addEventListener("change", redraw);
addEventListener("resize", redraw);
if (video.requestVideoFrameCallback) {
  const onFrame = (_, shown) => {
    shownAt = shown.mediaTime;
    redraw();
    video.requestVideoFrameCallback(onFrame);
  };
  video.requestVideoFrameCallback(onFrame);
}
