// What another program does is seen without looking again.

import assert from "node:assert/strict";

export default async function ({ name, arrives }) {
  const person = await arrives();
  await person.logsIn();
  await person.page.evaluate(() => (globalThis.stayed = true));
  await person.api("POST", "/containers", {
    metadata: { name },
    spec: { image: "busybox:latest", command: ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1000 & wait; done"], resources: { memory: "32Mi" } },
  });
  const row = person.page.locator("tbody tr", { hasText: name });
  await row.locator(".badge", { hasText: "Created" }).waitFor();
  await person.api("POST", `/containers/${name}/start`);
  await row.locator(".badge", { hasText: "Running" }).waitFor();
  // And what it uses, once it runs.
  await row.locator(".c-memory b", { hasText: "iB" }).waitFor();
  await person.goes("/events");
  await person.page.evaluate(() => (globalThis.stayed = true));
  await person.api("POST", `/containers/${name}/stop`);
  await person.page.locator("tr", { hasText: name }).first().waitFor();
  await person.page.locator("tr", { hasText: name }).filter({ hasText: /Exited|Stopped|Completed/ }).first().waitFor();
  assert.equal(await person.page.evaluate(() => globalThis.stayed), true, "the page was loaded again");
}
