// A container from the form to its end, with the mistakes that people make.

import assert from "node:assert/strict";

const PROGRAM = `sh -c 'trap "exit 7" TERM; i=0; while :; do i=$((i+1)); echo "line $i"; [ $((i%5)) = 0 ] && echo "careful $i" >&2; sleep 0.1; done'`;

export default async function ({ name, arrives }) {
  const person = await arrives();
  await person.logsIn();
  await person.follows("New container");

  // Two mistakes, which the server finds: each is told beside its field, and nothing that was typed is lost.
  await person.fills("Image required", "busybox:latest");
  await person.fills("Name", `${name}_Wrong`);
  await person.fills("Command", PROGRAM);
  await person.fills("Memory", "64 apples");
  await person.fills("Labels", "app=browser");
  await person.presses("Create and start");
  await person.sees(".create-faults", "2 things are not right yet");
  for (const field of ["name", "memory"]) await person.page.locator(`#f-${field}[aria-invalid=true]`).waitFor();
  assert.equal(await person.page.getByLabel("Command", { exact: true }).inputValue(), PROGRAM);
  assert.equal(await person.page.getByLabel("Labels", { exact: true }).inputValue(), "app=browser");
  // The browser's own console tells of the refused request.
  assert.equal(person.complaints.splice(0).filter((text) => !text.includes("422")).length, 0);

  await person.fills("Name", name);
  await person.fills("Memory", "64Mi");
  await person.presses("Create and start");
  await person.sees(".flash", `${name} was started.`);
  await person.sees("h1 .badge", "Running");

  // The figures move by themselves.
  await person.until(() => /\d/.test(document.querySelector('[data-stat="cpu"] b')?.textContent ?? ""));
  const [before] = [await person.page.locator('[data-spark="memory"] path').first().getAttribute("d")];
  await person.until((d) => document.querySelector('[data-spark="memory"] path').getAttribute("d") !== d, before);

  // The log arrives while one looks, is searched as one types, and waits while one reads.
  await person.follows("Logs");
  await person.until(() => document.querySelectorAll(".line").length > 20);
  await person.page.getByLabel("Search", { exact: true }).fill("careful");
  await person.until(() => [...document.querySelectorAll(".line:not([hidden]) .msg")].every((line) => line.textContent.includes("careful")));
  const found = await person.page.locator(".line:not([hidden])").count();
  await person.until((found) => document.querySelectorAll(".line:not([hidden])").length > found, found);
  assert.equal(await person.page.locator(".line.stderr").first().isVisible(), true);
  await person.page.getByLabel("Search", { exact: true }).fill("no such words");
  await person.sees(".notfound", "no such words");
  await person.page.getByLabel("Search", { exact: true }).fill("");
  await person.presses("Stop following");
  const paused = await person.page.locator(".line").count();
  const [download] = await Promise.all([person.page.waitForEvent("download"), person.follows("Download")]);
  const lines = (await (await download.createReadStream()).toArray()).join("").split("\n");
  assert.ok(lines.length > paused, "what was written meanwhile is in the file");
  assert.equal(await person.page.locator(".line").count(), paused, "it goes on while it is paused");
  await person.presses("Follow");
  await person.until((paused) => document.querySelectorAll(".line").length > paused, paused);

  await person.follows("Processes");
  await person.sees("td .inside", "1");

  // Held, let go on, stopped: the page follows.
  await person.presses("Pause", ".actions");
  await person.sees("h1 .badge", "Paused");
  await person.presses("Resume", ".actions");
  await person.sees("h1 .badge", "Running");
  await person.follows("Overview");
  await person.presses("Stop", ".actions");
  await person.sees("h1 .badge", "Exited 7");
  await person.sees(".note", "The program finished by itself, with exit code 7");
  await person.presses("Start", ".actions");
  await person.sees("h1 .badge", "Running");
  await person.page.locator("#kill summary").click();
  await person.page.getByLabel("Signal", { exact: true }).selectOption("SIGKILL");
  await person.presses("Send", "#kill");
  await person.sees("h1 .badge", "Exited 137");
  await person.sees(".note", "SIGKILL");

  await person.page.locator("#delete summary").click();
  await person.presses("Delete for good", "#delete");
  await person.sees(".flash", `${name} was deleted.`);
  assert.equal(await person.page.locator("tbody", { hasText: name }).count(), 0);
}
