// Small comforts: copy buttons, times that keep walking, menus that close.

import { duration, relative } from "./format.js";

// What only scripts can do is hidden until they run.
export function dress(root) {
  if (!navigator.clipboard) return;
  for (const button of root.querySelectorAll("button.copy[hidden]")) button.hidden = false;
}

function tick() {
  for (const time of document.querySelectorAll("time[data-relative]")) {
    const text = relative(time.dateTime);
    if (text && time.textContent !== text) time.textContent = text;
  }
  for (const time of document.querySelectorAll("time[data-elapsed]")) {
    const seconds = Math.floor((Date.now() - Date.parse(time.dateTime)) / 1000);
    if (seconds >= 0) time.textContent = duration(seconds);
  }
}

async function copy(button) {
  await navigator.clipboard.writeText(button.dataset.copy);
  const label = button.querySelector(".sr");
  const before = label?.textContent;
  button.classList.add("done");
  if (label) label.textContent = document.body.dataset.copied;
  setTimeout(() => {
    button.classList.remove("done");
    if (label) label.textContent = before;
  }, 1500);
}

export function start() {
  dress(document);
  // On a narrow screen the tab that one is on may lie beyond the edge.
  document.querySelector(".tabs [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
  tick();
  setInterval(() => document.hidden || tick(), 1000);
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("button.copy");
    if (button) copy(button);
    for (const menu of document.querySelectorAll("details.pop[open]")) if (!menu.contains(event.target)) menu.open = false;
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const menu of document.querySelectorAll("details.pop[open]")) {
      menu.open = false;
      menu.querySelector("summary")?.focus();
    }
  });
}
