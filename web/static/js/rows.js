// What the containers of the list use: each row that runs is asked for one sample, one after the other, and again after a while.

import { bytes, cores } from "./format.js";
import { show } from "./meter.js";

const EVERY = 4000;
const before = new Map();

async function sample(row) {
  const answer = await fetch(`${row.dataset.sample}/stats`, { headers: { accept: "application/json" } });
  if (!answer.ok) return;
  const { timestamp, memory, cpu } = await answer.json();
  const at = Date.parse(timestamp) * 1e6;
  const last = before.get(row.id);
  before.set(row.id, { at, used: cpu?.usageNanos });
  show(row.querySelector(".c-memory"), memory?.workingSetBytes ?? memory?.usageBytes, bytes);
  if (last && cpu?.usageNanos != null && at > last.at) show(row.querySelector(".c-cpu"), Math.max(0, (cpu.usageNanos - last.used) / (at - last.at)), cores);
}

async function look() {
  for (const row of document.querySelectorAll("tr[data-sample]")) {
    if (document.hidden) break;
    try {
      await sample(row);
    } catch {
      // It may have ended meanwhile, and the list is about to say so.
    }
  }
  setTimeout(look, document.querySelector("tr[data-sample]") ? EVERY : EVERY * 2);
}

export function start() {
  if (document.querySelector("table.containers, #live-list")) look();
}
