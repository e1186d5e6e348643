// The terminal of a container's page: a program that is run in it, or the container's own, on the screen of xterm.js.

import "./strict.js";
import { FitAddon } from "@xterm/addon-fit";
import { Terminal } from "@xterm/xterm";
import { open } from "./session.js";

const root = document.getElementById("terminal");
const words = root?.dataset ?? {};
const say = (text, holes = {}) => Object.entries(holes).reduce((said, [hole, value]) => said.replace(`{${hole}}`, value), text ?? "");

if (root) start();

function start() {
  const form = document.getElementById("terminal-form");
  const status = document.getElementById("terminal-status");
  const [connect, end] = [document.getElementById("terminal-connect"), document.getElementById("terminal-end")];
  const terminal = new Terminal({
    theme: colours(),
    fontFamily: getComputedStyle(root).fontFamily,
    fontSize: 13,
    lineHeight: 1.25,
    cursorBlink: !matchMedia("(prefers-reduced-motion: reduce)").matches,
    minimumContrastRatio: 4.5,
    scrollback: 10000,
    screenReaderMode: matchMedia("(forced-colors: active)").matches,
    disableStdin: true,
  });
  const fit = new FitAddon();
  terminal.loadAddon(fit);
  root.hidden = false;
  terminal.open(root);
  // For tests and for the curious.
  root.terminal = terminal;
  terminal.textarea?.setAttribute("aria-label", words.label);
  let session = null;

  const fitted = () => {
    if (root.clientWidth > 0) fit.fit();
  };
  const tell = (text, state) => {
    status.textContent = text;
    status.dataset.state = state;
  };
  const busy = (on) => {
    connect.hidden = on;
    end.hidden = !on;
    terminal.options.disableStdin = !on;
    for (const field of form.querySelectorAll("input, select")) field.disabled = on;
  };

  const begin = () => {
    const attach = form.elements.mode.value === "attach";
    const tty = attach ? words.tty === "true" : true;
    const path = attach ? attachPath(words) : execPath(words, form.elements);
    if (!path) return tell(words.nocommand, "bad");
    terminal.reset();
    terminal.options.convertEol = !tty;
    tell(words.connecting, "idle");
    busy(true);
    fitted();
    const mine = open(path, {
      open() {
        tell(attach ? words.attached : words.connected, "good");
        mine.resize(terminal.cols, terminal.rows);
        terminal.focus();
      },
      output: (bytes) => terminal.write(bytes),
      ended({ code, message, lost, refused }) {
        if (session !== mine) return;
        session = null;
        busy(false);
        const text = refused ? words.refused : code !== null ? say(words.ended, { code }) : message ? say(words.failed, { why: message }) : words.closed;
        tell(text, !refused && (code === 0 || (code === null && !message)) ? "idle" : "bad");
        terminal.write(`\r\n\x1b[2m${lost ? words.lost : text}\x1b[0m\r\n`);
        if (root.contains(document.activeElement)) connect.focus();
      },
    });
    session = mine;
  };

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!session) begin();
  });
  end.addEventListener("click", () => session?.close());
  form.elements.mode.addEventListener("change", () => {
    form.dataset.mode = form.elements.mode.value;
  });
  terminal.onData((text) => session?.input(text));
  terminal.onBinary((text) => session?.binary(text));
  terminal.onResize(({ cols, rows }) => session?.resize(cols, rows));
  terminal.attachCustomKeyEventHandler((event) => keys(event, terminal, end, connect));
  new ResizeObserver(() => requestAnimationFrame(fitted)).observe(root);
  const repaint = () => {
    terminal.options.theme = colours();
  };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
  addEventListener("pagehide", () => session?.close());
  for (const part of document.querySelectorAll("[data-terminal]")) part.hidden = false;
  end.hidden = true;
  fitted();
  tell(words.idle, "idle");
}

// A terminal takes every key, Tab included: there must be a way out by keyboard. And a selection can be copied as elsewhere.
function keys(event, terminal, end, connect) {
  if (event.key === "Escape" && event.shiftKey) {
    if (event.type === "keydown") (end.hidden ? connect : end).focus();
    return false;
  }
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "c" && terminal.hasSelection()) return false;
  return true;
}

function execPath({ api }, fields) {
  const command = split(fields.command.value);
  if (command.length === 0) return null;
  const query = new URLSearchParams(command.map((word) => ["command", word]));
  query.append("tty", "true");
  query.append("stdin", "true");
  query.append("env", "TERM=xterm-256color");
  if (fields.user.value.trim()) query.append("user", fields.user.value.trim());
  if (fields.workingDir.value.trim()) query.append("workingDir", fields.workingDir.value.trim());
  return `${api}/exec?${query}`;
}

// A terminal's screen is what was written before, too: without it there would be no prompt to see.
function attachPath({ api, stdin, tty }) {
  return `${api}/attach?stdin=${stdin}&logs=${tty}`;
}

// Words as the create form reads them: blanks between, quotes and backslashes around.
function split(text) {
  const words = [];
  let word = null;
  let quote = "";
  for (let at = 0; at < text.length; at += 1) {
    const c = text[at];
    if (quote) {
      if (c === quote) quote = "";
      else if (c === "\\" && quote === '"' && '"\\$`'.includes(text[at + 1])) word += text[(at += 1)];
      else word += c;
    } else if (c === "'" || c === '"') {
      quote = c;
      word ??= "";
    } else if (c === "\\" && at + 1 < text.length) word = (word ?? "") + text[(at += 1)];
    else if (/\s/.test(c)) {
      if (word !== null) words.push(word);
      word = null;
    } else word = (word ?? "") + c;
  }
  if (word !== null) words.push(word);
  return words;
}

// The sixteen colours and the rest from the style sheet, so that the terminal is light or dark as the page is.
function colours() {
  const probe = document.createElement("span");
  root.append(probe);
  const colour = (name) => {
    probe.style.color = `var(--${name})`;
    return hex(getComputedStyle(probe).color);
  };
  const names = ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"];
  const theme = {
    background: colour("log"),
    foreground: colour("ink"),
    cursor: colour("accent"),
    cursorAccent: colour("log"),
    selectionBackground: colour("found"),
    scrollbarSliderBackground: colour("line-strong"),
    scrollbarSliderHoverBackground: colour("ink-faint"),
    scrollbarSliderActiveBackground: colour("ink-faint"),
  };
  for (const name of names) {
    theme[name] = colour(`fg-${name}`);
    theme[`bright${name[0].toUpperCase()}${name.slice(1)}`] = theme[name];
  }
  probe.remove();
  return theme;
}

function hex(rgb) {
  const parts = rgb.match(/[\d.]+/g) ?? [];
  return `#${parts.slice(0, 3).map((part) => Math.round(Number(part)).toString(16).padStart(2, "0")).join("")}`;
}
