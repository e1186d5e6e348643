// Keeps a page true: when the event stream tells of something that the page shows, the page is fetched again and its live parts are morphed.
//
// An event is only a hint that it is worth looking; nothing is computed from it. While the tab is hidden nothing is held open (a browser
// has few connections to one server); on return everything is looked at once.

import { morph } from "./morph.js";
import { dress } from "./small.js";

// A moment for events that come together, and a breath between two looks however many events there are.
const PAUSE = 150;
const BREATH = 1000;
let source = null;
let waiting = 0;
let looked = -BREATH;
let busy = false;
let again = false;
let interrupted = false;
// A form was sent or a link followed: what comes next is on its way, and a reload would take its place.
let leaving = 0;
const STILL_HERE = 10000;

function parts() {
  return [...document.querySelectorAll("[data-live]")];
}

function concerns(part, event) {
  const { live, liveName } = part.dataset;
  const about = event.involvedObject ?? {};
  return live === "*" || ((!about.kind || live === about.kind) && (!liveName || !about.name || liveName === about.name));
}

function soon() {
  if (waiting) return;
  const wait = Math.max(PAUSE, looked + BREATH - performance.now());
  waiting = setTimeout(() => {
    waiting = 0;
    refresh();
  }, wait);
}

async function refresh() {
  if (busy) {
    again = true;
    return;
  }
  if (leaving) return;
  busy = true;
  looked = performance.now();
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html" } });
    const html = await answer.text();
    if (leaving) return;
    // Signed out meanwhile: another page came than the one that was asked for.
    if (answer.redirected) location.reload();
    else if (answer.ok || answer.status === 404) swap(html);
  } catch {
    // The stream's own reconnect will bring us back here.
  } finally {
    busy = false;
    if (again) {
      again = false;
      soon();
    }
  }
}

function swap(html) {
  const page = new DOMParser().parseFromString(html, "text/html");
  for (const part of parts()) {
    const wanted = page.getElementById(part.id);
    if (wanted) {
      morph(part, wanted);
      dress(part.isConnected ? part : document);
    } else if (page.querySelector(".problem") || part.hasAttribute("data-live-reload")) {
      // What was looked at is gone, or another thing altogether.
      location.reload();
      return;
    }
  }
}

function offline(on) {
  let sign = document.querySelector(".offline");
  if (on && !sign) {
    sign = document.createElement("p");
    sign.className = "offline";
    sign.setAttribute("role", "status");
    sign.textContent = document.body.dataset.offline;
    document.body.append(sign);
  } else if (!on) sign?.remove();
}

function open() {
  if (source) return;
  source = new EventSource("/api/v1/events");
  const take = (message) => {
    let event = {};
    try {
      event = JSON.parse(message.data);
    } catch {
      // A message that is not ours to read is still a sign of life.
    }
    if (parts().some((part) => concerns(part, event))) soon();
  };
  source.onmessage = take;
  source.onopen = () => {
    offline(false);
    if (interrupted) soon();
    interrupted = false;
  };
  source.onerror = () => {
    interrupted = true;
    setTimeout(() => source && source.readyState !== EventSource.OPEN && offline(true), 3000);
    if (source.readyState === EventSource.CLOSED) {
      close();
      setTimeout(() => document.hidden || open(), 5000);
    }
  };
}

function close() {
  source?.close();
  source = null;
}

export function start() {
  if (parts().length === 0) return;
  open();
  addEventListener("beforeunload", () => {
    clearTimeout(leaving);
    // It was a download, or was given up.
    leaving = setTimeout(() => {
      leaving = 0;
      soon();
    }, STILL_HERE);
  });
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) close();
    else {
      open();
      soon();
    }
  });
  // Some facts change without an event: a part may ask to be looked at every so many seconds.
  const every = Math.min(...parts().map((part) => Number(part.dataset.liveEvery ?? Infinity)));
  if (Number.isFinite(every)) setInterval(() => document.hidden || soon(), every * 1000);
}
