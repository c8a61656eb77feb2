import assert from "node:assert/strict";
import { PatchbayError } from "@patchbay/core";
import fc from "fast-check";
import { loadConfig } from "./config.ts";
import { parseEntry } from "./entry.ts";

Deno.test("entry: whatever a file holds, it is an entry or a reason, never a throw", () => {
  const entry = {
    id: "1".repeat(16),
    module: "arm",
    instance: "arm",
    pid: 1,
    startedAtMs: 1,
    wires: { uds: "/run/arm.sock" },
    endpoints: [{ pattern: "callable", role: "server", address: "arm/move", wires: ["uds"] }],
  };
  const text = JSON.stringify(entry);
  const mutated = fc.tuple(fc.nat(text.length - 1), fc.string({ maxLength: 4 })).map(([at, bit]) =>
    text.slice(0, at) + bit + text.slice(at + bit.length)
  );
  const replaced = fc.tuple(fc.constantFrom(...Object.keys(entry)), fc.jsonValue()).map((
    [key, value],
  ) => JSON.stringify({ ...entry, [key]: value }));
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json(), mutated, replaced), (anything) => {
      const read = parseEntry(anything, "arm");
      if (typeof read === "string") return read.length > 0;
      return read.instance === "arm" && Array.isArray(read.endpoints) &&
        read.endpoints.every((one) => typeof one.address === "string" && Array.isArray(one.wires));
    }),
    { numRuns: 2000 },
  );
});

Deno.test("config: whatever a file holds, it is read or refused with its name", async () => {
  const folder = await Deno.makeTempDir({ prefix: "pb-" });
  try {
    for (const name of ["patchbay.json", "patchbay.jsonc", "patchbay.yaml"]) {
      const path = `${folder}/${name}`;
      await fc.assert(
        fc.asyncProperty(fc.oneof(fc.string(), fc.json()), async (anything) => {
          await Deno.writeTextFile(path, anything);
          try {
            await loadConfig(path);
          } catch (error) {
            assert.ok(error instanceof PatchbayError, String(error));
            assert.equal(error.code, "invalid");
            assert.ok(error.message.includes(path), error.message);
          }
        }),
        { numRuns: 150 },
      );
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
