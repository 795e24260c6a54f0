// Several cameras on one playhead.
import { iso } from "./clock.js";
import { Deck } from "./deck.js";

const deck = new Deck();
const time = document.getElementById("choose-time");
time?.form.addEventListener("submit", () => {
  time.value = iso(deck.clock).replace(/\d{3}Z$/, "Z");
});
