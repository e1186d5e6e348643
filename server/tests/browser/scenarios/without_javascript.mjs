// The same house with scripts switched off.

import assert from "node:assert/strict";

export default async function ({ name, arrives }) {
  const person = await arrives({ javaScriptEnabled: false });
  await person.logsIn();
  await person.goes("/containers/new");
  await person.fills("Image required", "busybox:latest");
  await person.fills("Name", name);
  await person.fills("Command", `sh -c "echo written; trap 'exit 0' TERM; while :; do sleep 1000 & wait; done"`);
  await person.fills("Environment", "no equals sign");
  await person.presses("Create and start");
  await person.page.locator("#fault-env-1").waitFor();
  person.complaints.length = 0;
  await person.fills("Environment", "COLOUR=teal");
  await person.presses("Show the request");
  await person.sees("#request pre", '"COLOUR"');
  await person.presses("Create and start");
  await person.sees("h1 .badge", "Running");

  await person.follows("Logs");
  await person.sees(".line", "written");
  await person.fills("Search", "nowhere");
  await person.presses("Apply");
  await person.sees(".nothing", "nowhere");

  await person.follows("Terminal");
  await person.sees(".note", "An interactive terminal needs JavaScript");
  await person.page.locator("#f-command").fill('sh -c "echo $COLOUR; id -u; ls /nowhere"');
  await person.presses("Run");
  await person.sees("#answer .stdout", "teal");
  await person.sees("#answer .stderr", "No such file");
  await person.sees("#answer .verdict", "exit code 1");
  await person.page.locator("#f-command").fill("no-such-program");
  await person.presses("Run");
  await person.sees(".create-faults", "no-such-program");
  person.complaints.length = 0;

  await person.presses("Stop", ".actions");
  await person.sees("h1 .badge", "Exited 0");
  await person.page.locator("#delete summary").click();
  await person.presses("Delete for good", "#delete");
  await person.sees(".flash", `${name} was deleted.`);
  assert.equal(await person.page.locator("tbody", { hasText: name }).count(), 0);
}
