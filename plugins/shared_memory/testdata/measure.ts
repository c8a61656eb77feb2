/**
 * Figures of shared_memory beside uds, in turn, in one run: `measure.ts [WIRE] [CODEC]`. Nothing is
 * asserted.
 *
 * @module
 */

import { openRuntimeDir } from "@patchbay/host";
import { MESSAGE, openIn } from "./far.ts";

const FAR = new URL("./far.ts", import.meta.url).pathname;
const WIRES = ["shared_memory", "uds"];
const micros = (ms: number) => `${(ms * 1000).toFixed(2)} µs`;

async function latency(once: () => Promise<unknown>, count: number, gapMs = 0): Promise<string> {
  const taken: number[] = [];
  for (let i = 0; i < 2 * count; i++) {
    if (gapMs > 0) await new Promise((resolve) => setTimeout(resolve, gapMs));
    const start = performance.now();
    await once();
    if (i >= count) taken.push(performance.now() - start);
  }
  taken.sort((a, b) => a - b);
  return `p50 ${micros(taken[count / 2])}  p99 ${micros(taken[Math.floor(count * 0.99)])}`;
}

async function inFlight(once: () => Promise<unknown>, count: number): Promise<string> {
  const start = performance.now();
  await Promise.all(Array.from({ length: 64 }, async () => {
    for (let i = 0; i < count / 64; i++) await once();
  }));
  return `${(count / (performance.now() - start)).toFixed(0)} k/s`;
}

async function measure(wire: string, codec: string): Promise<void> {
  const parent = await Deno.makeTempDir({ prefix: "pb-" });
  const folder = openRuntimeDir({ path: `${parent}/run` });
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", FAR, folder, "far", wire, codec],
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const output = child.stdout.getReader();
  await output.read();
  const bay = await openIn(folder, "near", wire, codec);
  const tell = (what: string, value: string) =>
    console.log(`${wire.padEnd(14)} ${codec.padEnd(8)} ${what.padEnd(28)} ${value}`);
  const echo = bay.callable<unknown, unknown>("far/echo");
  const call = () => echo.call(MESSAGE);
  tell("call 85 B hot", await latency(call, 20_000));
  tell("call 85 B after 3 ms", await latency(call, 200, 3));
  tell("call 85 B, 64 in flight", await inFlight(call, 128_000));
  const raw = new Uint8Array(64);
  if (codec === "msgpack") tell("call raw 64 B hot", await latency(() => echo.call(raw), 20_000));
  let left = 0;
  let done = () => {};
  await bay.listen("far/tick", () => {
    if (--left === 0) done();
  }, { overflow: "block" });
  for (const kind of codec === "msgpack" ? ["raw", "small"] : ["small"]) {
    for (const count of [50_000, 300_000]) {
      const all = new Promise<void>((resolve) => done = resolve);
      left = count;
      const start = performance.now();
      await bay.call("far/push", { count, kind });
      await all;
      if (count > 50_000) {
        tell(`shout ${kind}`, `${(count / (performance.now() - start)).toFixed(0)} k/s`);
      }
    }
  }
  if (codec === "msgpack") {
    const large = new Uint8Array(2 ** 20);
    const length = bay.callable<unknown, unknown>("far/length");
    for (let i = 0; i < 20; i++) await length.call(large);
    const start = performance.now();
    for (let i = 0; i < 100; i++) await length.call(large);
    tell(
      "1 MiB raw, one way",
      `${(100 * 2 ** 20 / (performance.now() - start) / 1e6).toFixed(2)} GB/s`,
    );
  }
  await bay.close();
  await child.stdin.close();
  await output.cancel();
  await child.status;
  await Deno.remove(parent, { recursive: true });
}

const [onlyWire, onlyCodec] = Deno.args;
for (const codec of onlyCodec === undefined ? ["json", "msgpack"] : [onlyCodec]) {
  for (const wire of onlyWire === undefined ? WIRES : [onlyWire]) await measure(wire, codec);
}
