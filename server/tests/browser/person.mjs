// A person at a browser: what they do, what they see, and what went wrong behind the page meanwhile.

import assert from "node:assert/strict";

// Generous: the machine may be busy with other tests. Nothing waits this long when all is well.
const PATIENCE = 30_000;

export class Person {
  static async arrives(browser, { url, token, width = 1280, height = 900, colorScheme = "light", javaScriptEnabled = true, locale = "en-GB" }) {
    const context = await browser.newContext({ viewport: { width, height }, colorScheme, javaScriptEnabled, locale, baseURL: url });
    context.setDefaultTimeout(PATIENCE);
    const page = await context.newPage();
    const person = new Person(page, { url, token });
    page.on("console", (message) => message.type() === "error" && person.complaints.push(`${message.text()} ${message.location().url}`));
    page.on("pageerror", (error) => person.complaints.push(String(error)));
    page.on("dialog", (dialog) => person.complaints.push(`a dialog: ${dialog.message()}`) && dialog.dismiss());
    // A violation of the content security policy is an error of the console too; this one names its element.
    if (javaScriptEnabled) {
      await page.addInitScript(() =>
        addEventListener("securitypolicyviolation", (event) => console.error(`CSP: ${event.violatedDirective} ${event.blockedURI} ${event.sample}`)),
      );
    }
    return person;
  }

  constructor(page, { url, token }) {
    Object.assign(this, { page, url, token, complaints: [] });
  }

  // By the link that Berth prints when it starts.
  async logsIn() {
    await this.page.goto(`/login?token=${this.token}`);
    await this.sees("h1", "Containers");
    assert.ok(!this.page.url().includes(this.token), "the token stays in the address");
  }

  async goes(path) {
    const answer = await this.page.goto(path);
    assert.equal(answer.status(), 200, path);
  }

  async fills(label, text) {
    await this.page.getByLabel(label, { exact: true }).fill(text);
  }

  async presses(button, within = "main") {
    await this.page.locator(within).getByRole("button", { name: button, exact: true }).click();
  }

  async follows(link, within = "main") {
    await this.page.locator(within).getByRole("link", { name: link, exact: true }).first().click();
  }

  // Waits until an element that matches holds this text.
  async sees(selector, text) {
    await this.page.locator(selector).filter({ hasText: text }).first().waitFor();
  }

  async seesNot(selector, text) {
    await this.page.locator(selector).filter({ hasText: text }).first().waitFor({ state: "hidden" });
  }

  async reads(selector) {
    return (await this.page.locator(selector).first().innerText()).trim();
  }

  // Waits until `look`, a function in the page, answers something true.
  async until(look, argument) {
    return (await this.page.waitForFunction(look, argument)).jsonValue();
  }

  // Waits until something beyond the page is so.
  async comesTrue(what, look) {
    for (const deadline = Date.now() + PATIENCE; !(await look()); await new Promise((resolve) => setTimeout(resolve, 20))) {
      assert.ok(Date.now() < deadline, `waited in vain: ${what}`);
    }
  }

  async fitsTheScreen(path) {
    const beyond = await this.page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    assert.ok(beyond <= 0, `${path} is ${beyond} px wider than the screen`);
  }

  // The API, as another program would call it.
  async api(method, path, body) {
    const answer = await fetch(`${this.url}/api/v1${path}`, {
      method,
      headers: { authorization: `Bearer ${this.token}`, ...(body && { "content-type": "application/json" }) },
      body: body && JSON.stringify(body),
    });
    assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${await answer.clone().text()}`);
    return answer.status === 204 ? null : answer.json();
  }

  noticedNothingWrong() {
    // The list asks each of its rows for a sample, and another test's container may end or go in between: a browser writes down every refusal.
    const wrong = this.complaints.filter((complaint) => !/status of 40[49] .*\/containers\/[0-9a-f]{32}\/stats$/.test(complaint));
    assert.deepEqual(wrong, [], "the browser's console holds errors");
  }

  async whereabouts() {
    try {
      const text = (await this.page.locator("body").innerText({ timeout: 2000 })).slice(0, 3000);
      return `at ${this.page.url()}\nconsole: ${this.complaints.join("\n")}\npage:\n${text}`;
    } catch (error) {
      return `at ${this.page.url()}: ${error.message}`;
    }
  }
}
