// By keyboard alone: into the form, through it, and to the container's buttons.

import assert from "node:assert/strict";

export default async function ({ name, arrives }) {
  const person = await arrives();
  const { keyboard } = person.page;
  await person.logsIn();

  // What has the focus, as a screen reader would call it.
  const here = () =>
    person.page.evaluate(() => {
      const it = document.activeElement;
      return (it.getAttribute("aria-label") ?? it.labels?.[0]?.innerText ?? it.innerText ?? "").trim();
    });
  const tabTo = async (wanted) => {
    for (let steps = 0; steps < 80; steps += 1) {
      if ((await here()) === wanted) {
        const seen = await person.page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle !== "none");
        assert.ok(seen, `the focus cannot be seen on ${wanted}`);
        return;
      }
      await keyboard.press("Tab");
    }
    assert.fail(`Tab never comes to ${wanted}; it is at ${await here()}`);
  };
  const comes = (path) => person.page.waitForURL((address) => address.pathname === path);

  await keyboard.press("Tab");
  assert.equal(await here(), "Skip to the content");
  await keyboard.press("Enter");
  await tabTo("New container");
  await keyboard.press("Enter");
  await comes("/containers/new");
  await tabTo("Image required");
  await keyboard.type("busybox:latest");
  await tabTo("Name");
  await keyboard.type(name);
  await tabTo("Command");
  await keyboard.type("sh -c \"trap 'exit 0' TERM; while :; do sleep 1000 & wait; done\"");
  await keyboard.press("Enter");
  await comes(`/containers/${name}`);
  await person.sees("h1 .badge", "Running");
  await tabTo("Delete");
  await keyboard.press("Enter");
  await person.page.locator("#delete[open]").waitFor();
  await keyboard.press("Escape");
  await person.page.locator("#delete:not([open])").waitFor();
  await tabTo("Delete");
  await keyboard.press("Enter");
  await tabTo("Delete for good");
  await keyboard.press("Enter");
  await comes("/containers");
  await person.sees(".flash", `${name} was deleted.`);
}
