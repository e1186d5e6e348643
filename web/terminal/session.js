// One interactive session: the WebSocket subprotocol v5.channel.k8s.io, in which the first byte of a message names its channel.

const PROTOCOL = "v5.channel.k8s.io";
const [STDIN, STDOUT, STDERR, STATUS, RESIZE] = [0, 1, 2, 3, 4];
const encoder = new TextEncoder();
const decoder = new TextDecoder();

// Opens `path` and tells `on`: open(), output(bytes, isError), ended({ code, message }) exactly once.
export function open(path, on) {
  const address = new URL(path, location.href);
  address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
  const socket = new WebSocket(address, PROTOCOL);
  socket.binaryType = "arraybuffer";
  let status = null;
  let opened = false;

  socket.onopen = () => {
    opened = true;
    on.open();
  };
  socket.onmessage = ({ data }) => {
    const bytes = typeof data === "string" ? encoder.encode(data) : new Uint8Array(data);
    const body = bytes.subarray(1);
    if (bytes[0] === STDOUT || bytes[0] === STDERR) on.output(body, bytes[0] === STDERR);
    else if (bytes[0] === STATUS) status = read(decoder.decode(body));
  };
  // Why a WebSocket was refused a script is never told (the WebSockets standard, "fail the WebSocket connection").
  socket.onclose = ({ code, reason }) => {
    if (status) on.ended(status);
    else if (!opened) on.ended({ code: null, message: "", refused: true });
    else on.ended({ code: null, message: reason || (code === 1000 ? "" : `WebSocket ${code}`), lost: code !== 1000 });
  };

  const send = (channel, bytes) => {
    if (socket.readyState !== WebSocket.OPEN) return;
    const message = new Uint8Array(bytes.length + 1);
    message[0] = channel;
    message.set(bytes, 1);
    socket.send(message);
  };
  return {
    input: (text) => send(STDIN, encoder.encode(text)),
    // xterm.js gives bytes that are no text (old mouse reports) as a string of one character a byte.
    binary: (text) => send(STDIN, Uint8Array.from(text, (c) => c.charCodeAt(0) & 255)),
    resize: (columns, rows) => send(RESIZE, encoder.encode(JSON.stringify({ Width: columns, Height: rows }))),
    close: () => socket.close(1000),
  };
}

// Kubernetes' Status: success, or a failure whose cause ExitCode says with which code the program ended.
function read(text) {
  try {
    const status = JSON.parse(text);
    if (status.status === "Success") return { code: 0, message: "" };
    const cause = status.details?.causes?.find(({ reason }) => reason === "ExitCode");
    return { code: cause ? Number(cause.message) : null, message: cause ? "" : (status.message ?? status.reason ?? "") };
  } catch {
    return { code: null, message: text };
  }
}
