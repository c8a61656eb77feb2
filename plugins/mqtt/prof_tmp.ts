import { open } from "@patchbay/core";
import mqtt, { durable } from "./mod.ts";
import { Mosquitto } from "./mosquitto.ts";
await using broker = await Mosquitto.start();
const what = Deno.args[0];
const config = { mqtt: { port: broker.port } };
const plugin = what === "call" ? mqtt : durable;
await using far = await open({ module: "far", plugins: [plugin], config });
await using near = await open({ module: "near", plugins: [plugin], config });
const M = { method: "add", args: { x: 1.5, y: 2.5 }, note: "a message of eighty-five bytes or so......" };
if (what === "call") {
  await far.serve("far/add", (m: any) => ({ sum: m.args.x + m.args.y }));
  const c = near.callable("far/add");
  await c.call(M);
  for (let r = 0; r < 4; r++) {
    const n = 30000; let sent = 0; const t = performance.now();
    await Promise.all(Array.from({ length: 64 }, async () => { while (sent < n) { sent++; await c.call(M); } }));
    console.log("calls/s", Math.round(n / (performance.now() - t) * 1000));
  }
} else {
  let left = 0; let done = () => {};
  await near.listen("far/tick", () => { if (--left === 0) done(); }, { maxQueue: 100000 });
  const s = await far.speaker("far/tick");
  for (let r = 0; r < 4; r++) {
    const n = 60000; left = n; const p = new Promise<void>((r) => done = r); const t = performance.now();
    for (let i = 0; i < n; i++) { const w = s.shout(M); if (w) await w; }
    await p;
    console.log("shouts/s", Math.round(n / (performance.now() - t) * 1000));
  }
}
