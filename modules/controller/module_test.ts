import assert from "node:assert/strict";
import { MockComm, Priority } from "@patchbay/bus";
import { ButtonState, frames, FrameType, LedState } from "../frames/frames.ts";
import { Controller } from "./module.ts";

Deno.test("controller: the light follows the button, and goes out at the end", async () => {
  await using comm = new MockComm({ frames });
  const controller = await new Controller(comm).start();
  assert.deepEqual(comm.sent.splice(0), [
    { type: FrameType.BUTTON_STATE, value: undefined, priority: Priority.NORMAL },
  ]);
  comm.receive(new ButtonState({ pressed: true }));
  await controller.process();
  await controller.stop();
  assert.deepEqual(comm.sent.map(({ value, priority }) => [value, priority]), [
    [new LedState({ on: true }), Priority.HIGH],
    [new LedState({ on: false }), Priority.HIGH],
  ]);
});
