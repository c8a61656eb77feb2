import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { open } from "@patchbay/core";
import bus, { BusComm } from "@patchbay/bus";
import { TYPES } from "./testdata/crowd.ts";
import { frames } from "./testdata/frames.ts";

const MODULES = 200;
const PROCESSES = 4;
const FRAMES = 50;

/** A process with many modules. */
async function crowd(url: string, first: number, count: number) {
  const program = fileURLToPath(new URL("./testdata/crowd.ts", import.meta.url));
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", program, url, String(first), String(count)],
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const reader = child.stdout.getReader();
  const { value } = await reader.read();
  assert.equal(new TextDecoder().decode(value), "ready\n");
  return {
    async [Symbol.asyncDispose]() {
      await child.stdin.close();
      await reader.cancel();
      await child.status;
    },
  };
}

Deno.test("200 modules are connected, and each gets the frames that it listens for, and only those", async () => {
  await using manager = await open({
    module: "manager",
    plugins: [bus],
    config: { bus: { listen: { port: 0 } } },
  });
  const { where: [url] } = manager.transport(bus);
  const each = MODULES / PROCESSES;
  const firsts = Array.from({ length: PROCESSES }, (_, n) => n * each);
  await using stack = new AsyncDisposableStack();
  for (const one of await Promise.all(firsts.map((first) => crowd(url, first, each)))) {
    stack.use(one);
  }
  assert.equal(manager.transport(bus).modules().length, MODULES);
  await using sensor = await BusComm.open({ module: "sensor", frames, url });
  for (let n = 0; n < FRAMES; n++) {
    for (const type of TYPES) await sensor.send(new type());
  }
  const counts: Record<string, Record<string, number>> = {};
  const wanted = Object.fromEntries(Array.from({ length: MODULES }, (_, n) => [
    `module${n}`,
    { [TYPES[n % TYPES.length].frameName]: FRAMES },
  ]));
  const total = () =>
    Object.values(counts).flatMap((one) => Object.values(one)).reduce((sum, n) => sum + n, 0);
  // Until as many have come as were sent: then it shows whether they are the right ones.
  for (const end = performance.now() + 30_000; performance.now() < end;) {
    for (const first of firsts) {
      Object.assign(
        counts,
        await sensor.bay.call<null, typeof counts>(`crowd${first}/counts`, null),
      );
    }
    if (total() >= MODULES * FRAMES) break;
  }
  assert.deepEqual(counts, wanted);
  for (const { hears } of manager.transport(bus).modules()) {
    for (const { dropped } of hears) assert.equal(dropped, 0);
  }
});
