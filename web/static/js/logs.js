// Follows a log and searches in it. New lines come by server-sent events and are drawn as the server would have drawn them; the search hides
// lines and marks what it found through the CSS Custom Highlight API, which leaves the lines themselves alone.

import { nodes } from "./ansi.js";
import { count } from "./format.js";

const MOST = 20000;
const PAUSE = 120;

// The time with all nine digits of its fraction, so that texts compare as times do.
function full(time) {
  const [seconds, fraction = ""] = time.replace(/Z$/, "").split(".");
  return `${seconds}.${fraction.padEnd(9, "0")}Z`;
}

export async function start() {
  const log = document.getElementById("log");
  if (!log) return;
  log.scrollTop = log.scrollHeight;
  // Here the search is done on all lines that the page has; the server sent only those that match.
  if (log.dataset.search) await fetchAll(log);
  const search = searcher(log);
  times(log);
  if (log.dataset.follow) follow(log, search);
}

async function fetchAll(log) {
  const address = new URL(location.href);
  address.searchParams.delete("q");
  const answer = await fetch(address, { headers: { accept: "text/html" } });
  if (!answer.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  log.replaceChildren(...document.importNode(page.getElementById("log"), true).childNodes);
  log.scrollTop = log.scrollHeight;
}

function times(log) {
  const button = document.getElementById("log-times");
  const set = (on) => {
    log.classList.toggle("no-times", !on);
    button.setAttribute("aria-pressed", String(on));
  };
  button.hidden = false;
  button.addEventListener("click", () => set(log.classList.contains("no-times")));
}

function searcher(log) {
  const field = document.getElementById("q");
  const total = document.getElementById("log-count");
  const form = document.getElementById("log-form");
  const marks = globalThis.Highlight ? new Highlight() : null;
  if (marks) CSS.highlights.set("found", marks);
  let needle = "";
  let shown = 0;
  let waiting = 0;

  const tell = () => {
    total.textContent = (shown === 1 ? total.dataset.one : total.dataset.other).replace("{count}", count(shown));
    log.querySelector(".notfound")?.remove();
    if (needle && shown === 0) {
      const nothing = document.createElement("p");
      nothing.className = "nothing notfound";
      nothing.textContent = log.dataset.notfound.replace("{text}", needle);
      log.prepend(nothing);
    }
  };
  // Shows or hides one line; answers whether it is shown.
  const test = (line) => {
    const message = line.querySelector(".msg");
    const found = !needle || message.textContent.toLowerCase().includes(needle);
    line.hidden = !found;
    if (found && needle) mark(message);
    if (found) shown += 1;
    return found;
  };
  const mark = (message) => {
    if (!marks) return;
    const walker = document.createTreeWalker(message, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      const text = node.data.toLowerCase();
      for (let at = text.indexOf(needle); at >= 0; at = text.indexOf(needle, at + needle.length)) {
        const range = new Range();
        range.setStart(node, at);
        range.setEnd(node, at + needle.length);
        marks.add(range);
      }
    }
  };
  const all = () => {
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 24;
    needle = field.value.toLowerCase();
    shown = 0;
    marks?.clear();
    for (const line of log.querySelectorAll(".line")) test(line);
    tell();
    if (atEnd) log.scrollTop = log.scrollHeight;
    const address = new URL(location.href);
    if (field.value) address.searchParams.set("q", field.value);
    else address.searchParams.delete("q");
    history.replaceState(null, "", address);
  };
  field.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(all, PAUSE);
  });
  // The other two choices are the server's.
  for (const choice of form.querySelectorAll("select")) choice.addEventListener("change", () => form.requestSubmit());
  document.getElementById("log-apply").hidden = true;
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.target === field) {
      event.preventDefault();
      all();
    }
  });
  all();
  return {
    added(line) {
      test(line);
      tell();
    },
    removed(line) {
      if (!line.hidden) shown -= 1;
    },
  };
}

function follow(log, search) {
  const button = document.getElementById("follow");
  let source = null;
  let last = [...log.querySelectorAll(".line time")].pop()?.dateTime ?? "";

  const set = (on) => {
    button.dataset.state = on ? "on" : "off";
    button.querySelector("span").textContent = on ? button.dataset.on : button.dataset.off;
    source?.close();
    source = on ? open() : null;
    if (on) log.scrollTop = log.scrollHeight;
  };

  const add = ({ time, stream, text }) => {
    if (time <= last) return;
    last = time;
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 24;
    log.querySelector("[data-nothing]")?.remove();
    const row = line(time, stream, text);
    log.append(row);
    search.added(row);
    const lines = log.getElementsByClassName("line");
    while (lines.length > MOST) {
      search.removed(lines[0]);
      lines[0].remove();
    }
    if (atEnd) log.scrollTop = log.scrollHeight;
  };

  const open = () => {
    const since = last ? `&sinceTime=${encodeURIComponent(last)}` : "";
    const stream = new EventSource(log.dataset.follow + since);
    let silent = 0;
    stream.onmessage = (message) => {
      silent = 0;
      const record = JSON.parse(message.data);
      add({ time: full(record.time), stream: record.stream, text: record.text });
    };
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

function line(time, stream, text) {
  const row = document.createElement("div");
  row.className = `line ${stream === "stderr" ? "stderr" : "stdout"}`;
  const clock = document.createElement("time");
  clock.dateTime = time;
  clock.title = time;
  clock.textContent = time.slice(11, 23);
  const message = document.createElement("span");
  message.className = "msg";
  message.append(nodes(text));
  row.append(clock, message);
  return row;
}
