import assert from "node:assert/strict";
import { MockComm } from "@patchbay/bus";
import { ButtonState, frames } from "../frames/frames.ts";
import { Button } from "./module.ts";

Deno.test("button: sends its state when it changes, and when it is asked", async () => {
  await using comm = new MockComm({ frames });
  let pressed = false;
  const button = await new Button(comm, () => pressed).start();
  const sent = () => comm.sent.splice(0).map(({ value }) => value);
  await button.process();
  assert.deepEqual(sent(), [new ButtonState({ pressed: false })], "at the start");
  await button.process();
  assert.deepEqual(sent(), [], "nothing has changed");
  pressed = true;
  await button.process();
  assert.deepEqual(sent(), [new ButtonState({ pressed: true })]);
  comm.receive(ButtonState);
  await button.process();
  assert.deepEqual(sent(), [new ButtonState({ pressed: true })], "asked");
});
