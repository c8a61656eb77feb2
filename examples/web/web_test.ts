/**
 * Opens the page in a real Chromium: over shared memory, and without the headers that allow it.
 *
 * @module
 */

import assert from "node:assert/strict";
import { type Browser, chromium, type Page } from "playwright-core";
import { requireOrIgnore } from "../../tests/require.ts";
import { serveWeb, type Web } from "./server.ts";

const ARGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
const EXECUTABLE = Deno.env.get("CHROMIUM") ?? "/usr/bin/chromium";

const browser = await requireOrIgnore("chromium", async () => {
  const { success } = await new Deno.Command(EXECUTABLE, {
    args: ["--version"],
    stdout: "null",
    stderr: "null",
  }).output();
  return success;
}, "apt-get install chromium, or set CHROMIUM to its path");

/** What the page puts into its global scope. */
interface PageGlobals {
  bay: {
    call(address: string, value: unknown, options?: unknown): Promise<unknown>;
    serve(address: string, handler: (value: unknown) => unknown): Promise<unknown>;
    wires(): { name: string; health?: { status: string } }[];
  };
  lab: { terminate(): void };
}

/** An open page, and everything that went wrong on it. */
interface Opened extends AsyncDisposable {
  readonly page: Page;
  readonly web: Web;
  readonly wrong: string[];
}

async function openPage(isolated: boolean): Promise<Opened> {
  const cleanup = new AsyncDisposableStack();
  const web = cleanup.use(await serveWeb({ port: 0, isolated }));
  const chrome: Browser = await chromium.launch({ executablePath: EXECUTABLE, args: ARGS });
  cleanup.defer(() => chrome.close());
  const page = await chrome.newPage({ viewport: { width: 1280, height: 860 } });
  const wrong: string[] = [];
  page.on("pageerror", (error) => wrong.push(error.message));
  page.on("console", (message) => message.type() === "error" && wrong.push(message.text()));
  page.on("requestfailed", (request) => wrong.push(`${request.url()} failed`));
  await page.goto(web.url);
  await page.locator("#wire[data-state=healthy]").waitFor();
  return { page, web, wrong, [Symbol.asyncDispose]: () => cleanup.disposeAsync() };
}

/** Waits until an element says something. */
async function says(page: Page, id: string, what: RegExp): Promise<string> {
  const found = page.locator(`#${id}`, { hasText: what });
  await found.waitFor();
  return await found.innerText();
}

/** Takes pictures, where somebody wants to see them. */
async function picture(page: Page, name: string): Promise<void> {
  const folder = Deno.env.get("WEB_PICTURES");
  if (folder !== undefined) {
    await page.screenshot({ path: `${folder}/${name}.png`, fullPage: true });
  }
}

for (const isolated of [true, false]) {
  const how = isolated ? "shared memory" : "messages";
  Deno.test({
    name: browser.name(`web: the page plots, calls, runs a job and has a worker (${how})`),
    ignore: browser.ignore,
    async fn() {
      await using opened = await openPage(isolated);
      const { page, web, wrong } = opened;
      assert.equal(await page.evaluate("crossOriginIsolated"), isolated);

      // The speaker.
      await says(page, "rate", /^[1-9]\d*$/);
      assert.equal(await page.locator("#lost").innerText(), "0");

      // The callable, from the page and to it.
      await page.locator("#frequency").fill("1.5");
      assert.match(await says(page, "answer", /answered/), /^1\.5 Hz, 10 mm/);
      await page.evaluate(() => {
        const { bay } = globalThis as unknown as PageGlobals;
        return bay.serve("page/twice", (value) => 2 * (value as number)).then(() => {});
      });
      assert.equal(await web.bay.call("page/twice", 21), 42);

      // The job: cancelled, then to its end.
      await page.locator("#start").click();
      await says(page, "percent", /^[1-9]\d %/);
      await page.locator("#cancel").click();
      await says(page, "outcome", /^cancelled$/);
      await page.locator("#start").click();
      const outcome = await says(page, "outcome", /resonance/);
      assert.match(outcome, /1\.[678]\d Hz/);
      assert.equal(await page.locator("#percent").innerText(), "100 %");

      // The worker.
      await says(page, "took", /ms$/);
      assert.match(await page.locator("#explained").innerText(), new RegExp(how));
      await picture(page, `${isolated ? "isolated" : "plain"}-light`);
      const { sum, code } = await page.evaluate(async () => {
        const { bay, lab } = globalThis as unknown as PageGlobals;
        const flat = new Uint8Array(new Float64Array(256).fill(3).buffer);
        const answer = await bay.call("lab/spectrum", flat) as Uint8Array;
        const amplitudes = new Float64Array(answer.slice().buffer);
        const pending = bay.call("lab/spectrum", flat, { timeoutMs: 60_000 });
        lab.terminate();
        const code = await pending.then(() => "answered", (error) => error.code as string);
        return { sum: amplitudes.reduce((total, each) => total + each, 0), code };
      });
      assert.ok(sum < 1e-9, `a constant has no spectrum, and not ${sum}`);
      assert.equal(code, "closed");
      assert.deepEqual(wrong, []);
    },
  });
}

Deno.test({
  name: browser.name("web: the page is usable on a telephone, and by night"),
  ignore: browser.ignore,
  async fn() {
    await using opened = await openPage(true);
    const { page, wrong } = opened;
    await page.emulateMedia({ colorScheme: "dark" });
    await says(page, "took", /ms$/);
    await page.locator("#start").click();
    await says(page, "percent", /^[4-9]\d %/);
    await picture(page, "dark");
    for (const width of [820, 390]) {
      await page.setViewportSize({ width, height: 844 });
      const overflow = await page.evaluate("document.documentElement.scrollWidth - innerWidth");
      assert.equal(overflow, 0, `at ${width} the page is ${overflow} too wide`);
      await page.locator("#signal canvas").waitFor();
      await picture(page, `width-${width}`);
    }
    await page.locator("#theme").click();
    assert.equal(await page.evaluate("document.documentElement.dataset.theme"), "light");
    await picture(page, "narrow-light");
    assert.deepEqual(wrong, []);
  },
});
