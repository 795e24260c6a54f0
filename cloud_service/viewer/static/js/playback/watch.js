// Several cameras on one playhead.
import { stamp } from "./clock.js";
import { Deck } from "./deck.js";

const deck = new Deck();
const time = document.getElementById("choose-time");
time?.form.addEventListener("submit", () => {
  time.value = stamp(deck.clock);
});
for (const link of document.querySelectorAll(".stage figcaption a")) {
  link.addEventListener("click", () => {
    link.search = `?t=${stamp(deck.clock)}`;
  });
}
