/**
 * `patchbay doctor` says which bodies of live modules nobody can describe.
 *
 * @module
 */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { defineCallable } from "@patchbay/core";
import { open, statisticsOf } from "@patchbay/host";
import { z } from "zod";
import rest from "./mod.ts";

const MAIN = fileURLToPath(new URL("../../cli/main.ts", import.meta.url));

Deno.test("rest: doctor says which bodies of a live module are untyped", async () => {
  const parent = await Deno.makeTempDir({ prefix: "pb-" });
  const runtimeDirectory = `${parent}/run`;
  {
    await using bay = await open({
      module: "arm",
      plugins: [rest],
      discover: false,
      configFile: false,
      handleSignals: false,
      runtimeDirectory,
      config: { rest: { listen: { port: 0 } } },
    });
    await bay.serve("arm/move", (value) => value);
    const Typed = defineCallable({
      address: "arm/typed",
      request: z.number(),
      response: z.number(),
    });
    await bay.serve(Typed, (value) => value);
    // It is published once a second.
    while ((await statisticsOf("arm", runtimeDirectory))?.transports[0].notes === undefined) {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    const doctor = async (...args: string[]) => {
      const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
        args: ["run", "-A", "--quiet", MAIN, "doctor", ...args, "--runtime-dir", runtimeDirectory],
        env: { NO_COLOR: "1" },
      }).output();
      assert.equal(code, 0, new TextDecoder().decode(stderr));
      return new TextDecoder().decode(stdout);
    };
    const said = "arm/move (request), arm/move (response); give their contracts";
    const told = await doctor();
    assert.ok(told.includes(`! arm over rest: openapi.json marks as untyped: ${said}`), told);
    const lines = (await doctor("--json")).trim().split("\n").map((line) => JSON.parse(line));
    const notes = lines.filter((line) => "note" in line);
    assert.deepEqual([notes.length, notes[0].note.module, notes[0].note.wire], [1, "arm", "rest"]);
    assert.doesNotMatch(await doctor("uds"), /untyped/);
  }
  await Deno.remove(parent, { recursive: true });
});
