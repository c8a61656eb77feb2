/**
 * Bays that know each other by URL alone, as those of different hosts do; and a page's half of the
 * plugin.
 *
 * @module
 */
import { freePort } from "@patchbay/core/conformance";
import assert from "node:assert/strict";
import { open, PatchbayError } from "@patchbay/core";
import page from "./browser.ts";
import rest from "./mod.ts";
import { bayWith } from "./testdata/bay.ts";

async function until(check: () => boolean | Promise<boolean>): Promise<void> {
  while (!await check()) await new Promise((resolve) => setTimeout(resolve, 10));
}

const QUICK = { reconnectMinMs: 10, reconnectMaxMs: 50 };

for (const [name, plugin] of [["a bay", rest], ["a page", page]] as const) {
  Deno.test(`rest: ${name} calls, listens and runs jobs at a peer given by its URL`, async () => {
    const token = "shared";
    await using robot = await bayWith({ auth: { tokens: { desk: token } } });
    await using desk = await open({
      module: "desk",
      plugins: [plugin],
      config: { rest: { peers: [robot.url], token, ...QUICK } },
    });
    const error = await desk.call("arm/move", 1).then(() => undefined, (reason) => reason);
    assert.ok(error instanceof PatchbayError);
    assert.equal(error.code, "not_found");
    await robot.serve("arm/move", (to, { peer }) => [to, peer.module, peer.identity]);
    assert.deepEqual(await desk.call("arm/move", 3), [3, "desk", "desk"]);
    const heard: unknown[] = [];
    await desk.listen("arm/*", (value, { address, sequence }) => {
      heard.push([address, value, sequence]);
    });
    // It comes later, and is joined without being asked.
    const speaker = await robot.speaker<number>("arm/tick");
    await until(() => speaker.listeners === 1);
    speaker.shout(7);
    await until(() => heard.length === 1);
    assert.deepEqual(heard, [["arm/tick", 7, 1]]);
    await robot.perform("arm/count", (goal, { feedback }) => {
      feedback(1);
      return goal;
    });
    const job = await desk.execute<number, number, number>("arm/count", 5);
    const feedback: number[] = [];
    for await (const value of job.feedback) feedback.push(value);
    assert.deepEqual([feedback, await job.result], [[1], 5]);
    if (plugin === page) {
      await assert.rejects(desk.serve("desk/x", () => 1), { code: "unavailable" });
    }
  });
}

Deno.test("rest: a peer that comes later, goes and comes back is found by itself", async () => {
  const port = freePort();
  await using desk = await open({
    module: "desk",
    plugins: [rest],
    config: { rest: { peers: [`http://127.0.0.1:${port}`], ...QUICK } },
  });
  const health = () => desk.wires()[0].health?.status;
  await until(() => health() === "degraded");
  for (const round of [1, 2]) {
    const robot = await open({
      module: "robot",
      plugins: [rest],
      config: { rest: { listen: { port } } },
    });
    await robot.serve("arm/round", () => round);
    await until(() => desk.call("arm/round", null).then((n) => n === round, () => false));
    await until(() => health() === "healthy");
    await robot.close();
    await until(() => health() === "degraded");
    await assert.rejects(desk.call("arm/round", null), { code: "not_found" });
  }
});
