// The looks of a log line, as src/ansi.rs gives them: SGR sequences become classes, everything unseen becomes visible.

const COLOURS = ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"];
const C0 = "NUL SOH STX ETX EOT ENQ ACK BEL BS HT LF VT FF CR SO SI DLE DC1 DC2 DC3 DC4 NAK SYN ETB CAN EM SUB ESC FS GS RS US".split(" ");
const SGR = /\u001b\[([0-9;]*)m/g;

function apply(look, codes) {
  const list = codes.split(";").map((code) => Number(code || 0));
  for (let i = 0; i < list.length; i += 1) {
    const code = list[i];
    if (code === 0) Object.assign(look, { colour: "", bold: false, dim: false, italic: false, underline: false });
    else if (code === 1) look.bold = true;
    else if (code === 2) look.dim = true;
    else if (code === 3) look.italic = true;
    else if (code === 4) look.underline = true;
    else if (code === 22) look.bold = look.dim = false;
    else if (code === 23) look.italic = false;
    else if (code === 24) look.underline = false;
    else if ((code >= 30 && code <= 37) || (code >= 90 && code <= 97)) look.colour = `fg-${COLOURS[code % 10]}`;
    else if (code === 39) look.colour = "";
    else if (code === 38 || code === 48) i += list[i + 1] === 5 ? 2 : 4;
  }
}

function classes(look) {
  return [look.colour, ...["bold", "dim", "italic", "underline"].filter((name) => look[name])].filter(Boolean).join(" ");
}

// Control characters by name; what turns or hides text by its code point.
export function visible(text) {
  return text.replace(/[\p{Cc}\u00ad\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\u{e0000}-\u{e007f}]/gu, (c) => {
    const code = c.codePointAt(0);
    if (c === "\t" || c === "\n") return c;
    if (code === 0x7f) return "⟨DEL⟩";
    if (C0[code]) return `⟨${C0[code]}⟩`;
    return `⟨U+${code.toString(16).toUpperCase().padStart(4, "0")}⟩`;
  });
}

// The line as nodes.
export function nodes(line) {
  const out = document.createDocumentFragment();
  const look = {};
  const push = (text) => {
    if (!text) return;
    const looks = classes(look);
    if (!looks) {
      out.append(visible(text));
      return;
    }
    const piece = document.createElement("span");
    piece.className = looks;
    piece.textContent = visible(text);
    out.append(piece);
  };
  // A terminal ends its lines with it.
  line = line.replace(/\r$/, "");
  let from = 0;
  for (const match of line.matchAll(SGR)) {
    push(line.slice(from, match.index));
    apply(look, match[1]);
    from = match.index + match[0].length;
  }
  push(line.slice(from));
  return out;
}
