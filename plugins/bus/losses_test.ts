/** What becomes of frames when the manager is killed: they come, or somebody counts them. */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import type { PatchbayError } from "@patchbay/core";
import { BusComm } from "./mod.ts";
import { Distance, frames, FrameType } from "./testdata/frames.ts";

async function startManager(path: string): Promise<Deno.ChildProcess> {
  const program = fileURLToPath(new URL("testdata/manager_process.ts", import.meta.url));
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", program, path],
    stdout: "piped",
  }).spawn();
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  assert.match((await reader.read()).value ?? "", /bus\.sock/);
  await reader.cancel();
  return child;
}

async function kill(child: Deno.ChildProcess): Promise<void> {
  child.kill("SIGKILL");
  await child.status;
}

/** A watchdog: a dozen pauses of half a second at most for each module are over long before. */
async function within<T>(what: string, work: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: still waiting`)), 30_000);
  });
  return await Promise.race([work, late]).finally(() => clearTimeout(timer));
}

Deno.test({
  name: "a manager is killed and started again: modules are back, and what was lost is counted",
  ignore: Deno.build.os === "windows",
  async fn() {
    const folder = await Deno.makeTempDir({ prefix: "pb-" });
    await Deno.chmod(folder, 0o700);
    const path = `${folder}/bus.sock`;
    let manager = await startManager(path);
    try {
      const options = { frames, url: `unix:${path}`, onReport: () => {} };
      const reports: PatchbayError[] = [];
      await using camera = await BusComm.open({
        module: "camera",
        ...options,
        onReport: (error) => reports.push(error),
      });
      await using display = await BusComm.open({ module: "display", ...options });
      await display.listenFor([FrameType.DISTANCE]);
      let came = 0;
      let last = -1;
      display.onFrame((frame) => {
        came++;
        last = frame.as(Distance)!.mm;
      });
      let sent = 0;
      /** Sends until the display has heard one that was sent after now. */
      const untilHeard = async () => {
        const from = sent;
        for (let tries = 0; last < from && tries < 10_000; tries++) {
          camera.send(new Distance({ mm: sent++ }));
          await new Promise((resolve) => setTimeout(resolve, 2));
        }
        assert.ok(last >= from, "the display is not back");
      };
      await camera.send(new Distance({ mm: sent++ }));
      for (let round = 0; round < 3; round++) {
        await untilHeard();
        const killed = kill(manager);
        // Some go into the dead connection, some before it is known to be dead.
        for (let n = 0; n < 50; n++) {
          camera.send(new Distance({ mm: sent++ }));
          await new Promise((resolve) => setTimeout(resolve));
        }
        await killed;
        manager = await startManager(path);
        await untilHeard();
      }
      const gap = display.statistics().dropped.gap ?? 0;
      const { unsent } = camera.statistics();
      assert.ok(unsent > 0, "some could not be sent, and the sender says so");
      assert.ok(unsent <= gap, "the listener misses them, too");
      // Those that were on their way when the manager died are counted by who misses them.
      assert.equal(came + gap, last + 1);
      // It says so: each time that the manager is lost, and what that has cost when it is back.
      const where = `the manager at unix:${path}`;
      assert.deepEqual(
        reports.map(({ message }) =>
          message.replace(/, after \d+ ms(?:; \d+ frames sent meanwhile have reached nobody)?$/, "")
            .replace(/lost: .*; it is/, "lost; it is")
        ),
        Array.from({ length: 3 }, () => [
          `${where} was lost; it is joined as soon as it is there`,
          `${where} is there`,
        ]).flat(),
      );
      const told = reports.map(({ details }) => Number(details?.unsent ?? 0));
      assert.equal(told.reduce((sum, n) => sum + n), unsent);
    } finally {
      await kill(manager);
      await Deno.remove(folder, { recursive: true });
    }
  },
});

Deno.test({
  name:
    "a manager that was away for long: modules dial twice a second at least, and are back by themselves",
  ignore: Deno.build.os === "windows",
  async fn() {
    const folder = await Deno.makeTempDir({ prefix: "pb-" });
    await Deno.chmod(folder, 0o700);
    const path = `${folder}/bus.sock`;
    // Something is there that turns each away: so many dials fail that pauses without a bound would
    // have become half a minute each.
    let dials = 0;
    const many = Promise.withResolvers<void>();
    const nobody = Deno.listen({ transport: "unix", path });
    const turningAway = (async () => {
      for await (const connection of nobody) {
        connection.close();
        if (++dials === 24) many.resolve();
      }
    })();
    let manager: Deno.ChildProcess | undefined;
    try {
      const options = { frames, url: `unix:${path}`, onReport: () => {} };
      await using camera = await BusComm.open({ module: "camera", ...options });
      await using display = await BusComm.open({ module: "display", ...options });
      await display.listenFor([FrameType.DISTANCE]);
      await camera.send(new Distance({ mm: 1 }));
      await within("24 dials", many.promise);
      nobody.close();
      await turningAway;
      await Deno.remove(path).catch(() => {});
      manager = await startManager(path);
      const heard = Promise.withResolvers<void>();
      display.onFrame(() => heard.resolve());
      const timer = setInterval(() => void camera.send(new Distance({ mm: 2 })), 5);
      await within("a frame", heard.promise).finally(() => clearInterval(timer));
    } finally {
      if (manager !== undefined) await kill(manager);
      await Deno.remove(folder, { recursive: true });
    }
  },
});
