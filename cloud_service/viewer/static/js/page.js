// What every page does: local times, the choice of light or dark, the dialog with the keys, and forms sent by htmx.
import { showLocalTimes } from "./times.js";

showLocalTimes(document);

const themes = { light: "dark", dark: "light" };
const themeSwitch = document.querySelector("[data-theme-switch]");
if (themeSwitch) {
  themeSwitch.hidden = false;
  themeSwitch.addEventListener("click", () => {
    const root = document.documentElement;
    const shown = root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
    root.dataset.theme = themes[shown];
    document.cookie = `icm-theme=${root.dataset.theme}; path=/; max-age=31536000; samesite=lax`;
  });
}

const help = document.getElementById("help");
const helpButton = document.querySelector("[data-help-open]");
if (help && helpButton) {
  helpButton.hidden = false;
  helpButton.addEventListener("click", () => help.showModal());
  document.addEventListener("keydown", (event) => {
    if (event.key !== "?" || isTyping(event.target) || help.open) return;
    event.preventDefault();
    help.showModal();
  });
}

document.addEventListener("htmx:configRequest", (event) => {
  const csrf = document.querySelector('meta[name="csrf"]');
  if (csrf) event.detail.headers["X-CSRF-Token"] = csrf.content;
});
document.addEventListener("htmx:afterSwap", (event) => showLocalTimes(event.detail.target));

// Whether a key pressed there is text, and no command.
export function isTyping(target) {
  return target instanceof Element && target.closest("input, select, textarea, [contenteditable]") !== null;
}
