import assert from "node:assert/strict";
import { MockComm } from "@patchbay/bus";
import { frames, Text } from "../frames/frames.ts";
import { Template } from "./module.ts";

Deno.test("template: answers a text with its length, and not its own answers", async () => {
  await using comm = new MockComm({ frames });
  const template = await new Template(comm).start();
  comm.receive(new Text({ text: "hello" }));
  comm.receive(new Text({ text: "I have read 5 characters" }));
  await template.process();
  assert.deepEqual(comm.sent.map(({ value }) => value), [
    new Text({ text: "I have read 5 characters" }),
  ]);
  template.stop();
});
