import assert from "node:assert/strict";
import { packed } from "./pack_proto.ts";

Deno.test("grpc: the packed .proto is the published one", async () => {
  const text = await Deno.readTextFile(new URL("./patchbay_proto.ts", import.meta.url));
  assert.equal(text, await packed(), "run deno run -A plugins/grpc/pack_proto.ts");
});
