/** rest in a real page: a call, a listener and a job, from another origin. */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { Patchbay } from "@patchbay/patchbay";
import rest from "@patchbay/rest";
import { requireOrIgnore } from "./require.ts";

const EXECUTABLE = Deno.env.get("CHROMIUM") ?? "/usr/bin/chromium";
const ARGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

const browser = await requireOrIgnore("chromium", async () => {
  const { success } = await new Deno.Command(EXECUTABLE, {
    args: ["--version"],
    stdout: "null",
    stderr: "null",
  }).output();
  return success;
}, "apt-get install chromium, or set CHROMIUM to its path");

/** What the page's program has of a bay. */
interface PageBay {
  call(address: string, value: unknown): Promise<unknown>;
  listen(address: string, heard: (value: unknown) => void): Promise<AsyncDisposable>;
  execute(address: string, goal: unknown): Promise<{
    readonly feedback: AsyncIterable<unknown>;
    readonly result: Promise<unknown>;
    cancel(): void;
  }>;
  close(): Promise<void>;
}

async function bundled(): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "bundle",
      "--quiet",
      "--platform",
      "browser",
      fileURLToPath(new URL("interop/rest_page.ts", import.meta.url)),
    ],
  }).output();
  assert.ok(success, new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout);
}

Deno.test({
  name: browser.name("rest: a page calls, listens and runs a job, from another origin"),
  ignore: browser.ignore,
  async fn() {
    const script = await bundled();
    await using site = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen() {} },
      (request) =>
        new URL(request.url).pathname === "/page.js"
          ? new Response(script, { headers: { "content-type": "text/javascript" } })
          : new Response('<!doctype html><script type="module" src="/page.js"></script>', {
            headers: { "content-type": "text/html" },
          }),
    );
    const origin = `http://127.0.0.1:${site.addr.port}`;
    await using arm = await Patchbay.open({
      module: "arm",
      runtimeDirectory: false,
      configFile: false,
      discover: false,
      handleSignals: false,
      plugins: [rest],
      config: { rest: { listen: { port: 0 }, cors: { origins: [origin] } } },
    });
    await arm.serve("arm/add", ({ a, b }: { a: number; b: number }) => a + b);
    await using speaker = await arm.speaker("arm/height", { retain: true });
    await arm.perform("arm/count", async function* (to: number, { signal }) {
      for (let n = 1; n <= to; n++) yield n;
      if (to > 5) await new Promise((_, reject) => signal.addEventListener("abort", reject));
      return "counted";
    });
    const { url } = arm.transport(rest);
    const chrome = await chromium.launch({ executablePath: EXECUTABLE, args: ARGS });
    try {
      const page = await chrome.newPage();
      const wrong: string[] = [];
      page.on("pageerror", (error) => wrong.push(error.message));
      await page.goto(origin);
      await page.waitForFunction("typeof openPageBay === 'function'");
      const shouting = setInterval(() => void speaker.shout(7), 20);
      const seen = await page.evaluate(async (url: string) => {
        const globals = globalThis as unknown as { openPageBay(url: string): Promise<PageBay> };
        const bay = await globals.openPageBay(url);
        const sum = await bay.call("arm/add", { a: 2, b: 3 });
        const code = await bay.call("arm/nothing", 1).then(() => "", (error) => error.code);
        const height = await new Promise((resolve) => void bay.listen("arm/height", resolve));
        const job = await bay.execute("arm/count", 3);
        const feedback: unknown[] = [];
        for await (const n of job.feedback) feedback.push(n);
        const result = await job.result;
        const endless = await bay.execute("arm/count", 6);
        endless.cancel();
        const cancelled = await endless.result.then(() => "", (error) => String(error.code));
        await bay.close();
        return { sum, code, height, feedback, result, cancelled };
      }, url).finally(() => clearInterval(shouting));
      assert.deepEqual(
        { ...seen, cancelled: seen.cancelled !== "" },
        {
          sum: 5,
          code: "not_found",
          height: 7,
          feedback: [1, 2, 3],
          result: "counted",
          cancelled: true,
        },
      );
      assert.deepEqual(wrong, []);
    } finally {
      await chrome.close();
    }
  },
});
