// Runs one scenario in a browser: `node run.mjs <scenario>`. acceptance_root/browser.rs starts it, one process a test.
//
//   BERTH_URL    where the dashboard is: http://127.0.0.1:7777
//   BERTH_TOKEN  an administrator's token
//   BERTH_NAME   what the names of everything that the scenario makes begin with
//   CHROMIUM     the browser, /usr/bin/chromium when absent

import { chromium } from "playwright-core";
import { Person } from "./person.mjs";

// Without the background services: a test has no business on the network. Root needs --no-sandbox.
const ARGUMENTS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

const [scenario] = process.argv.slice(2);
const { BERTH_URL: url, BERTH_TOKEN: token, BERTH_NAME: name, CHROMIUM: executablePath = "/usr/bin/chromium" } = process.env;
const { default: play } = await import(`./scenarios/${scenario}.mjs`);

const browser = await chromium.launch({ executablePath, args: ARGUMENTS });
let person;
try {
  await play({
    name,
    url,
    token,
    // Someone at a browser: each call is another one, with cookies of their own.
    async arrives(options = {}) {
      person = await Person.arrives(browser, { url, token, ...options });
      return person;
    },
  });
  person?.noticedNothingWrong();
} catch (error) {
  console.error(error.stack ?? error);
  if (person) console.error(await person.whereabouts());
  process.exitCode = 1;
} finally {
  await browser.close();
}
