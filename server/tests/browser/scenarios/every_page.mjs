// Every page, in both colour schemes and languages, on a wide and on a narrow screen.

import assert from "node:assert/strict";

const SCREENS = [
  { width: 1440, height: 900, colorScheme: "light", locale: "en-GB" },
  { width: 390, height: 844, colorScheme: "dark", locale: "zh-CN" },
  { width: 390, height: 844, colorScheme: "light", locale: "en-GB" },
  { width: 1440, height: 900, colorScheme: "dark", locale: "zh-CN" },
];

export default async function ({ name, arrives }) {
  const maker = await arrives();
  await maker.api("POST", "/containers", {
    metadata: { name, labels: { "app.kubernetes.io/name": "a-label-with-quite-a-long-value-that-must-not-widen-the-page" } },
    spec: {
      image: "busybox:latest",
      command: ["sh", "-c", `echo ${"long".repeat(100)}; trap 'exit 0' TERM; while :; do sleep 1000 & wait; done`],
      env: [{ name: "LONG", value: "x".repeat(300) }],
      mounts: [{ type: "tmpfs", target: "/a/rather/long/path/to/a/place/in/the/container" }],
    },
  });
  await maker.api("POST", `/containers/${name}/start`);
  const tabs = ["", "/logs", "/terminal", "/limits", "/processes", "/namespaces", "/cgroup", "/explain", "/events"];
  const paths = ["/containers", "/containers/new", "/images", "/images/busybox:latest", "/volumes", "/events", "/system", "/docs"];
  paths.push(...tabs.map((tab) => `/containers/${name}${tab}`));
  const grounds = {};
  for (const screen of SCREENS) {
    const person = await arrives(screen);
    await person.page.goto(`/login?token=${person.token}`);
    for (const path of paths) {
      await person.goes(path);
      await person.fitsTheScreen(`${path} at ${screen.width} px`);
      // The API's own page is in English alone.
      if (path !== "/docs") assert.equal(await person.page.locator("html").getAttribute("lang"), screen.locale.startsWith("zh") ? "zh-Hans" : "en");
    }
    await person.goes("/containers");
    grounds[screen.colorScheme] = await person.page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
    person.noticedNothingWrong();
    await person.page.context().close();
  }
  assert.notEqual(grounds.light, grounds.dark);
}
