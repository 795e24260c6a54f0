// What case.json says of segments and deletions, held against the chain's lines, which are words apart by spaces.
const textOf = (word) => (word === "-" ? "" : decodeURIComponent(word));

// A segment's leaf says the same of it as case.json.
function checkLeaf(check, segment, words) {
  const said = [words[3], words[5], timeText(BigInt(words[7])), timeText(BigInt(words[8]))];
  if (said.join() !== [segment.epoch, segment.records, segment.first, segment.last].join()) {
    check.say("wrong", `${segment.path}: case.json says something else of it than the chain`);
  }
}

// Each deletion that case.json names is in the chain, with the same reason, rule, author and time.
function checkDeletions(check, camera, tombstones, isPruned) {
  let dropped = 0;
  for (const gone of camera.tombstones) {
    const words = tombstones.get(gone.number);
    if (!words && isPruned(gone.number, gone.number)) dropped += 1;
    else if (!words) check.say("wrong", `the chain does not say that segment ${gone.number} was deleted`);
    else {
      const said = [words[10], textOf(words[13]), textOf(words[12]), timeText(BigInt(words[11])), textOf(words[9])];
      const here = [gone.reason, gone.rule, gone.by, gone.at, gone.sha256];
      if (said.some((word, place) => word !== here[place])) {
        check.say("wrong", `case.json says something else of the deletion of segment ${gone.number} of camera`
          + ` ${camera.name} than the chain`);
      }
    }
  }
  if (dropped) {
    check.say("note", `of ${dropped} deletions of camera ${camera.name} the chain says only that they were: by which rule,`
      + " and what was deleted, is the cloud's word, as these entries were dropped");
  }
}

// Every segment of the range is here or accounted for, as far as the numbers tell.
function checkComplete(check, camera, leaves, tombstones, isPruned) {
  const here = new Set([...camera.segments, ...camera.tombstones].map(({ number }) => number));
  for (const { camera: name, segment } of check.case.missing) if (name === camera.name && segment) here.add(segment);
  if (!here.size) return;
  const lowest = Math.min(...here), highest = Math.max(...here), known = new Set(here);
  for (const [number, words] of [...leaves, ...tombstones]) {
    if (here.has(number)) continue;
    if (check.within(words.slice(7, 9))) {
      check.say("wrong", `segment ${number} of camera ${camera.name} is left out: the chain has records of the range in it`);
    }
    if (lowest < number && number < highest) known.add(number);
  }
  const order = [...known].sort((one, other) => one - other);
  for (const [place, after] of order.entries()) {
    const first = order[place - 1] + 1, last = after - 1;
    if (place && first <= last && !isPruned(first, last)) {
      const what = first === last ? `segment ${first}` : `segments ${first} to ${last}`;
      check.say("wrong", `${what} of camera ${camera.name} left out: neither here nor accounted for`);
    }
  }
}
