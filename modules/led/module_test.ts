import assert from "node:assert/strict";
import { MockComm } from "@patchbay/bus";
import { frames, LedState } from "../frames/frames.ts";
import { Led } from "./module.ts";

Deno.test("led: does what it is told, once, and is dark at the end", async () => {
  await using comm = new MockComm({ frames });
  const shown: boolean[] = [];
  const led = await new Led(comm, (on) => shown.push(on)).start();
  comm.receive(new LedState({ on: true }));
  comm.receive(new LedState({ on: true }));
  await led.process();
  assert.deepEqual(shown, [true]);
  comm.receive(LedState);
  await led.process();
  assert.deepEqual(comm.sent.map(({ value }) => value), [new LedState({ on: true })]);
  led.stop();
  assert.deepEqual(shown, [true, false]);
});
