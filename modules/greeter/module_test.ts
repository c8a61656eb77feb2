import assert from "node:assert/strict";
import { Greet, start } from "./main.ts";

Deno.test("greeter greets by name", async () => {
  await using bay = await start({
    // Alone: no other module, no configuration, nothing but this process.
    runtimeDirectory: false,
    configFile: false,
    discover: false,
    handleSignals: false,
  });
  assert.equal(await bay.call(Greet, { name: "Ada" }), "Hello Ada");
});
