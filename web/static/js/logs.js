// Follows a log: new lines come by server-sent events and are added as the server would have drawn them.

import { nodes, plain } from "./ansi.js";

const MOST = 20000;

// The time with all nine digits of its fraction, so that texts compare as times do.
function full(time) {
  const [seconds, fraction = ""] = time.replace(/Z$/, "").split(".");
  return `${seconds}.${fraction.padEnd(9, "0")}Z`;
}

export function start() {
  const log = document.getElementById("log");
  const button = document.getElementById("follow");
  if (!log || !button) return;
  log.scrollTop = log.scrollHeight;
  if (!log.dataset.follow) return;
  const search = log.dataset.search.toLowerCase();
  let source = null;
  let last = log.querySelector(".line:last-of-type time")?.dateTime ?? "";

  const set = (on) => {
    button.setAttribute("aria-pressed", String(on));
    button.querySelector("span").textContent = on ? button.dataset.on : button.dataset.off;
    source?.close();
    source = on ? open() : null;
    if (on) log.scrollTop = log.scrollHeight;
  };

  const add = ({ time, stream, text }) => {
    if (time <= last) return;
    last = time;
    if (search && !plain(text).toLowerCase().includes(search)) return;
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 24;
    log.querySelector(".nothing")?.remove();
    log.append(line(time, stream, text, search));
    while (log.childElementCount > MOST) log.firstElementChild.remove();
    if (atEnd) log.scrollTop = log.scrollHeight;
  };

  const open = () => {
    const since = last ? `&sinceTime=${encodeURIComponent(last)}` : "";
    const stream = new EventSource(log.dataset.follow + since);
    let silent = 0;
    const take = (message) => {
      silent = 0;
      const record = JSON.parse(message.data);
      add({ time: full(record.time), stream: record.stream, text: record.text });
    };
    stream.onmessage = take;
    // The browser takes a broken stream up again by itself. One that ends twice without a word has nothing more to tell: the container ended.
    stream.onerror = () => {
      silent += 1;
      if (silent > 1 || stream.readyState === EventSource.CLOSED) set(false);
    };
    return stream;
  };

  button.hidden = false;
  button.addEventListener("click", () => set(!source));
  document.addEventListener("visibilitychange", () => {
    if (!source) return;
    source.close();
    if (!document.hidden) source = open();
  });
  set(true);
}

function line(time, stream, text, search) {
  const row = document.createElement("div");
  row.className = `line ${stream === "stderr" ? "stderr" : "stdout"}`;
  const clock = document.createElement("time");
  clock.dateTime = time;
  clock.title = time;
  clock.textContent = time.slice(11, 23);
  const message = document.createElement("span");
  message.className = "msg";
  message.append(nodes(text, search));
  row.append(clock, message);
  return row;
}
