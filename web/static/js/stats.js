// Live figures: one sample a second moves the bars and draws the lines. Everything is drawn with attributes; styles stay in the style sheet.

import { bytes, cores, count } from "./format.js";

const KEPT = 120;
const SVG = "http://www.w3.org/2000/svg";

export function start() {
  const root = document.querySelector("[data-stats]");
  if (!root) return;
  const history = { memory: [], cpu: [], pids: [] };
  let before = null;
  let source = null;

  const take = (message) => {
    const sample = JSON.parse(message.data);
    const now = { memory: sample.memory?.workingSetBytes ?? sample.memory?.usageBytes, pids: sample.pids?.current };
    const at = Date.parse(sample.timestamp) * 1e6;
    const used = sample.cpu?.usageNanos;
    if (before && used != null && at > before.at) now.cpu = Math.max(0, (used - before.used) / (at - before.at));
    if (used != null) before = { at, used };
    show("memory", now.memory, bytes);
    show("cpu", now.cpu, cores);
    show("pids", now.pids, count);
  };

  const show = (name, value, text) => {
    if (value == null) return;
    const kept = history[name];
    kept.push(value);
    if (kept.length > KEPT) kept.shift();
    for (const place of document.querySelectorAll(`[data-stat="${name}"]`)) {
      const figure = place.querySelector(".gauge-text b");
      if (figure) {
        figure.textContent = text(value);
        figure.classList.remove("none");
      }
      const gauge = place.querySelector(".gauge");
      const share = value / Number(gauge?.dataset.limit ?? NaN);
      if (!Number.isFinite(share)) continue;
      place.querySelector(".bar-fill")?.setAttribute("width", `${Math.min(100, share * 100).toFixed(1)}%`);
      gauge.classList.remove("good", "warn", "bad");
      gauge.classList.add(share >= 0.95 ? "bad" : share >= 0.8 ? "warn" : "good");
    }
    for (const chart of document.querySelectorAll(`[data-spark="${name}"]`)) {
      const limit = Number(chart.parentElement.querySelector(".gauge")?.dataset.limit ?? NaN);
      draw(chart, kept, limit);
    }
  };

  const open = () => {
    source = new EventSource(root.dataset.stats);
    source.onmessage = take;
  };
  open();
  document.addEventListener("visibilitychange", () => {
    source.close();
    before = null;
    if (!document.hidden) open();
  });
}

function draw(chart, values, limit) {
  if (values.length < 2) return;
  chart.classList.add("on");
  const [width, height] = [240, 40];
  const top = Math.max(...values, limit && limit < Math.max(...values) * 4 ? limit : 0) * 1.08 || 1;
  const x = (i) => ((i / (values.length - 1)) * width).toFixed(1);
  const y = (value) => (height - (value / top) * (height - 2)).toFixed(1);
  const line = values.map((value, i) => `${i ? "L" : "M"}${x(i)} ${y(value)}`).join("");
  const shapes = [["spark-area", `${line}L${width} ${height}L0 ${height}Z`], ["spark-line", line]];
  if (limit && limit <= top) shapes.push(["spark-limit", `M0 ${y(limit)}H${width}`]);
  chart.replaceChildren(
    ...shapes.map(([name, d]) => {
      const path = document.createElementNS(SVG, "path");
      path.setAttribute("class", name);
      path.setAttribute("d", d);
      return path;
    }),
  );
}
