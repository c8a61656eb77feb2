/**
 * A listener that hears a speaker over two wires gets each shout once, in order.
 *
 * @module
 */
import assert from "node:assert/strict";
import { Room } from "@patchbay/in_process";
import { Patchbay } from "@patchbay/patchbay";

Deno.test({
  name: "several wires: a shout over in_process and uds arrives once, whichever is first",
  ignore: Deno.build.os === "windows",
  async fn() {
    const folder = await Deno.makeTempDir({ prefix: "pb-" });
    try {
      const options = {
        runtimeDirectory: `${folder}/run`,
        configFile: false,
        discover: false,
        handleSignals: false,
        config: { in_process: { room: new Room() } },
      } as const;
      await using arm = await Patchbay.open({ module: "arm", ...options });
      await using desk = await Patchbay.open({ module: "desk", ...options });
      const heard: number[] = [];
      const all = Promise.withResolvers<void>();
      await using listener = await desk.listen<number>("arm/pose", (n) => {
        heard.push(n);
        if (n === 500) all.resolve();
      });
      await using pose = await arm.speaker<number>("arm/pose");
      assert.equal(pose.listeners, 2, "the listener has joined over both wires");
      for (let n = 1; n <= 500; n++) {
        await pose.shout(n);
        // The slower wire gets its turns, too.
        if (n % 50 === 0) await new Promise((resolve) => setTimeout(resolve));
      }
      await all.promise;
      assert.deepEqual(heard, Array.from({ length: 500 }, (_, index) => index + 1));
      // The second copies may still be on their way.
      const until = Date.now() + 10_000;
      while (listener.dropped < 500 && Date.now() < until) {
        await new Promise((resolve) => setTimeout(resolve));
      }
      const { endpoints } = desk.statistics.snapshot(Date.now());
      const drops = endpoints.find(({ role }) => role === "listener")?.drops;
      assert.deepEqual(drops, { duplicate: 500 }, "each second copy was recognised, and counted");
      assert.equal(heard.length, 500);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});
