// A shell in the container and the container's own program, typed to on a screen.

import assert from "node:assert/strict";

export default async function ({ name, arrives }) {
  const person = await arrives();
  await person.logsIn();
  await person.api("POST", "/containers", {
    metadata: { name },
    spec: { image: "busybox:latest", tty: true, stdin: true, hostname: "boxed", command: ["sh"], env: [{ name: "PS1", value: "own> " }] },
  });
  await person.api("POST", `/containers/${name}/start`);
  await person.goes(`/containers/${name}/terminal`);

  // Waits until this text is on the screen, or was.
  const shows = (text) =>
    person.until((text) => {
      const { active } = document.getElementById("terminal").terminal.buffer;
      const lines = Array.from({ length: active.length }, (_, line) => active.getLine(line)?.translateToString(true) ?? "");
      return lines.join("\n").includes(text);
    }, text);
  const { keyboard } = person.page;

  await person.presses("Connect");
  await person.sees("#terminal-status", "Connected");
  await keyboard.type("id; hostname\n");
  await shows("uid=0");
  await shows("boxed");
  // The program knows how large the screen is, also after it has changed.
  const size = () => person.page.evaluate(() => ((terminal) => `${terminal.rows} ${terminal.cols}`)(document.getElementById("terminal").terminal));
  await keyboard.type("stty size\n");
  await shows(await size());
  const before = await size();
  await person.page.setViewportSize({ width: 900, height: 700 });
  await person.until((before) => ((terminal) => `${terminal.rows} ${terminal.cols}`)(document.getElementById("terminal").terminal) !== before, before);
  await keyboard.type("stty size\n");
  await shows(await size());
  await keyboard.type("sleep 1000\n");
  // Until the shell has given the terminal to it, Ctrl-C is a letter of the line that the shell reads.
  await person.comesTrue("it sleeps", async () => {
    const { items } = await person.api("GET", `/containers/${name}/processes`);
    return items.some(({ command }) => command === "sleep 1000");
  });
  await keyboard.press("Control+c");
  await keyboard.type("echo still-$((40+2))\n");
  await shows("still-42");
  await keyboard.type("exit 3\n");
  await person.sees("#terminal-status", "exit code 3");

  // What does not work is told in words.
  await person.page.locator("#t-command").fill("no-such-program");
  await person.presses("Connect");
  await person.page.locator('#terminal-status[data-state="bad"]').waitFor();
  person.complaints.length = 0;

  // The keyboard gets out again, and the container's own shell is still there after one has left it.
  await person.page.getByLabel("Session").selectOption("attach");
  await person.presses("Connect");
  await person.sees("#terminal-status", "Attached");
  await keyboard.type("echo mine-$((1+1))\n");
  await shows("mine-2");
  await keyboard.press("Shift+Escape");
  assert.equal(await person.page.evaluate(() => document.activeElement.id), "terminal-end");
  await keyboard.press("Enter");
  await person.sees("#terminal-status", "Disconnected");
  const { status } = await person.api("GET", `/containers/${name}`);
  assert.equal(status.phase, "Running");
}
