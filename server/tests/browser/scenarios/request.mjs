// The form shows what it is going to send, while one types, and the shell line that is shown does the same.

import assert from "node:assert/strict";

export default async function ({ name, arrives }) {
  const person = await arrives();
  await person.logsIn();
  await person.goes("/containers/new?image=busybox:latest");
  await person.fills("Name", name);
  await person.fills("Command", `sh -c "echo it's"`);
  await person.presses("Show the request");
  await person.sees("#request pre", `"it's"`.slice(1, 4));
  const body = async () => JSON.parse(await person.page.locator("#request pre").textContent());
  assert.deepEqual((await body()).spec.command, ["sh", "-c", "echo it's"]);
  await person.fills("Processes and threads", "42");
  await person.until(() => document.querySelector("#request pre")?.textContent.includes('"pids": 42'));
  assert.match(await person.page.locator("#request .shell code").last().textContent(), /-d '\{.*it'\\''s.*\}'$/);
  // Nothing was made yet, and what is shown is what is made.
  await person.presses("Create");
  await person.sees(".flash", `${name} was created.`);
  const made = await person.api("GET", `/containers/${name}`);
  assert.deepEqual([made.spec.command, made.spec.resources.pids, made.status.phase], [["sh", "-c", "echo it's"], 42, "Created"]);
}
