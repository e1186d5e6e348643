// Live figures: one sample a second moves the bars and draws the lines. Everything is drawn with attributes; styles stay in the style sheet.

import { bytes, cores, count } from "./format.js";
import { show } from "./meter.js";

const KEPT = 120;
const SVG = "http://www.w3.org/2000/svg";
const rate = (value) => `${bytes(Math.round(value))}/s`;
const percent = (value) => `${value.toFixed(value < 10 ? 1 : 0)} %`;

// What a sample says, by the names that the pages use; counters become rates by the sample before.
function figures(sample, before) {
  const seconds = before ? (Date.parse(sample.timestamp) - Date.parse(before.timestamp)) / 1000 : 0;
  const per = (now, then) => (seconds > 0 && now != null && then != null ? Math.max(0, (now - then) / seconds) : null);
  const moved = (one, key) => (one?.io?.length ? one.io.reduce((sum, device) => sum + device[key], 0) : one ? 0 : null);
  const nanos = per(sample.cpu?.usageNanos, before?.cpu?.usageNanos);
  return {
    memory: [sample.memory?.workingSetBytes ?? sample.memory?.usageBytes, bytes],
    peak: [sample.memory?.peakBytes, bytes],
    cpu: [nanos == null ? null : nanos / 1e9, cores],
    pids: [sample.pids?.current, count],
    read: [per(moved(sample, "readBytes"), moved(before, "readBytes")), rate],
    write: [per(moved(sample, "writeBytes"), moved(before, "writeBytes")), rate],
    ...Object.fromEntries(Object.entries(sample.pressure ?? {}).map(([name, { someAvg10 }]) => [`pressure-${name}`, [someAvg10, percent]])),
  };
}

export function start() {
  const history = {};
  let before = null;
  let source = null;

  const take = (message) => {
    const sample = JSON.parse(message.data);
    for (const [name, [value, text]] of Object.entries(figures(sample, before))) {
      if (value == null) continue;
      const kept = (history[name] ??= []);
      kept.push(value);
      if (kept.length > KEPT) kept.shift();
      for (const place of document.querySelectorAll(`[data-stat="${name}"]`)) show(place, value, text);
      for (const chart of document.querySelectorAll(`[data-spark="${name}"]`)) {
        draw(chart, kept, Number(chart.parentElement.querySelector(".gauge")?.dataset.limit ?? NaN));
      }
    }
    before = sample;
  };

  // Only while it runs and someone looks: a stream that ends is not asked for again before the page says that it runs.
  const look = () => {
    const root = document.hidden ? null : document.querySelector("[data-stats]");
    if (!root) {
      source?.close();
      source = null;
    } else if (!source) {
      before = null;
      source = new EventSource(root.dataset.stats);
      source.onmessage = take;
      source.onerror = () => {
        source?.close();
        source = null;
      };
    }
  };
  if (!document.querySelector("[data-stats], [data-stats-later]")) return;
  look();
  setInterval(look, 2000);
  document.addEventListener("visibilitychange", look);
}

function draw(chart, values, limit) {
  if (values.length < 2) return;
  chart.classList.add("on");
  const [width, height] = [240, 40];
  const highest = Math.max(...values);
  const top = Math.max(highest, limit && limit < highest * 4 ? limit : 0) * 1.08 || 1;
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
