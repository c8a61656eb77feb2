import assert from "node:assert/strict";
import { Patchbay, PatchbayError } from "@patchbay/core";
import grpc from "./mod.ts";

Deno.test("hostile: an error's text that is no Unicode ends its own call, and not the program", async () => {
  await using arm = await Patchbay.open({
    module: "arm",
    plugins: [grpc],
    config: { grpc: { listen: { port: 0 } } },
  });
  await arm.serve("arm/half", async (text: string) => {
    await Promise.resolve();
    throw new Error(`no such thing: ${text}`);
  });
  await arm.perform("arm/half_job", async (text: string) => {
    await Promise.resolve();
    throw new Error(`no such thing: ${text}`);
  });
  await using desk = await Patchbay.open({
    module: "desk",
    plugins: [grpc],
    config: { grpc: { peers: [arm.transport(grpc).url] } },
  });
  // The second one is whole until it is cut to the length that a header may have.
  for (const text of ["\ud800", "x" + "😀".repeat(2000)]) {
    const code = (error: PatchbayError) => error.code;
    assert.equal(await desk.call("arm/half", text).then(() => "", code), "remote");
    const job = await desk.execute("arm/half_job", text);
    assert.equal(await job.result.then(() => "", code), "remote");
  }
});
