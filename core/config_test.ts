import assert from "node:assert/strict";
import { z } from "zod";
import { checkConfig, configSchema } from "./config.ts";
import { PatchbayError } from "./errors.ts";

interface Wire {
  port: number;
  host?: string;
  retry: boolean;
  mode: "fast" | "safe";
  names: readonly string[];
  ratio: number;
  extra?: object;
  anything?: unknown;
}

const schema = configSchema<Wire>({
  port: { kind: "integer", description: "port", default: 4000, min: 1, max: 65_535 },
  host: { kind: "string", description: "host" },
  retry: { kind: "boolean", description: "retry", default: true },
  mode: { kind: "string", description: "mode", default: "fast", oneOf: ["fast", "safe"] },
  names: { kind: "strings", description: "names", default: [] },
  ratio: { kind: "number", description: "ratio", default: 0.5, min: 0 },
  extra: { kind: "object", description: "an object" },
  anything: { kind: "any", description: "anything" },
});

/** The message with which a configuration is refused. */
function complaint(value: unknown): string {
  try {
    checkConfig(schema, value, "config.wire");
  } catch (error) {
    assert.ok(error instanceof PatchbayError);
    assert.equal(error.code, "invalid");
    return error.message;
  }
  throw new Error(`${JSON.stringify(value)} was accepted`);
}

Deno.test("config: defaults are filled in, what has none stays away", () => {
  const defaults = { port: 4000, retry: true, mode: "fast", names: [], ratio: 0.5 };
  assert.deepEqual(checkConfig(schema, undefined, "config.wire"), defaults);
  assert.deepEqual(checkConfig(schema, { port: undefined }, "config.wire"), defaults);
});

Deno.test("config: what is given is kept", () => {
  const given = {
    port: 1,
    host: "h",
    retry: false,
    mode: "safe" as const,
    names: ["a"],
    ratio: 7.5,
    extra: { a: 1 },
    anything: [1],
  };
  assert.deepEqual(checkConfig(schema, given, "config.wire"), given);
});

Deno.test("config: every kind refuses what is not of it", () => {
  const wrong: [Record<string, unknown>, RegExp][] = [
    [{ port: "4000" }, /config\.wire\.port: must be a number/],
    [{ port: 1.5 }, /port: must be a whole number/],
    [{ port: NaN }, /port: must be a number/],
    [{ port: 0 }, /port: must be at least 1/],
    [{ port: 70_000 }, /port: must be at most 65535/],
    [{ ratio: -1 }, /ratio: must be at least 0/],
    [{ retry: "yes" }, /retry: must be true or false/],
    [{ host: 7 }, /host: must be a string/],
    [{ mode: "saef" }, /mode: must be one of fast, safe \(did you mean safe\?\)/],
    [{ names: "a" }, /names: must be a list of strings/],
    [{ names: [1] }, /names: must be a list of strings/],
    [{ extra: null }, /extra: must be an object/],
  ];
  for (const [value, message] of wrong) assert.match(complaint(value), message);
});

Deno.test("config: an unknown key suggests the right one, or lists them", () => {
  assert.match(complaint({ prot: 1 }), /prot: unknown key; did you mean port\?/);
  assert.match(complaint({ colour: 1 }), /colour: unknown key; known are: port, host/);
  assert.match(complaint({ __proto__: null, constructor: 1 }), /constructor: unknown key/);
});

Deno.test("config: all complaints come at once", () => {
  const message = complaint({ port: "x", retry: 1 });
  assert.match(message, /config\.wire\.port: .*; config\.wire\.retry: /);
});

Deno.test("config: only an object is a configuration", () => {
  for (const value of [[], "text", 7, null]) {
    if (value === null) assert.ok(checkConfig(schema, value, "config.wire"), "null is none given");
    else assert.match(complaint(value), /config\.wire: must be an object/);
  }
});

Deno.test("config: another library's schema serves as well, if it is synchronous", () => {
  const zod = z.object({ port: z.number().default(4000) });
  assert.deepEqual(checkConfig(zod as never, undefined, "config.zod"), { port: 4000 });
  assert.throws(
    () => checkConfig(zod as never, { port: "x" }, "config.zod"),
    { code: "invalid", message: /config\.zod\.port: / },
  );
  const slow = z.object({}).refine(() => Promise.resolve(true));
  assert.throws(() => checkConfig(slow as never, {}, "config.slow"), /synchronous/);
});
