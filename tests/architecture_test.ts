/**
 * Holds the walk of one call in `ARCHITECTURE.md` to the call stacks of real calls.
 *
 * @module
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { defineCallable, Patchbay, type StandardSchema } from "@patchbay/patchbay";
import { PROJECT_ROOT } from "../tools/workspace.ts";

/** The walk of one wire: functions and their files by part, as `Class.method file`. */
async function documented(wire: string): Promise<Record<string, string[]>> {
  const text = await Deno.readTextFile(join(PROJECT_ROOT, "ARCHITECTURE.md"));
  const section = text.split(/^#+ /m).find((part) => part.startsWith(`${wire}\n`)) ?? "";
  const parts: Record<string, string[]> = {};
  let part = "";
  for (const line of section.split("\n")) {
    const cells = line.split("|").slice(1, -1).map((cell) => cell.trim());
    if (cells.length !== 4 || !cells[1].startsWith("`")) continue;
    if (cells[0] !== "") part = cells[0];
    const file = cells[2].replaceAll("`", "");
    for (const [, name] of cells[1].matchAll(/`([^`]+)`/g)) {
      (parts[part] ??= []).push(`${name} ${file}`);
    }
  }
  return parts;
}

/** The stack that leads here, outermost first, down to methods of Patchbay. */
function stack(): string[] {
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 60;
  const lines = new Error().stack?.split("\n") ?? [];
  Error.stackTraceLimit = stackTraceLimit;
  return lines.flatMap((line) => {
    const match = /at (?:async )?(\S+\.\S+) \(file:\/\/(.+):\d+:\d+\)/.exec(line);
    if (match === null || !match[2].startsWith(PROJECT_ROOT)) return [];
    const file = match[2].slice(PROJECT_ROOT.length + 1);
    return file.startsWith("tests/") ? [] : [`${match[1]} ${file}`];
  }).reverse();
}

/** A schema that only looks where it is called from. */
function looking(look: () => void): StandardSchema<unknown, unknown> {
  return {
    "~standard": {
      version: 1,
      vendor: "test",
      validate: (value) => {
        look();
        return { value };
      },
    },
  };
}

/** A value that looks where it is read from. */
function watched(look: () => void): { readonly value: number } {
  return {
    get value() {
      look();
      return 1;
    },
  };
}

async function place() {
  const folder = await Deno.makeTempDir({ prefix: "pb-" });
  const open = (module: string) =>
    Patchbay.open({
      module,
      runtimeDirectory: `${folder}/run`,
      configFile: false,
      discover: false,
      handleSignals: false,
    });
  return {
    open,
    [Symbol.asyncDispose]: () => Deno.remove(folder, { recursive: true }),
  };
}

Deno.test("architecture: the walk over in_process is that of a real call", async () => {
  const walk = await documented("in_process");
  const seen: Record<string, string[]> = {};
  await using here = await place();
  await using bay = await here.open("one");
  await bay.serve("one/x", () => {
    seen.request = stack();
    return 1;
  });
  const response = looking(() => seen.response = stack());
  const caller = bay.callable(defineCallable({ address: "one/x", response }));
  await caller.bind();
  await caller.call(1);
  assert.deepEqual(seen.request, walk.request);
  assert.deepEqual(seen.response, [...walk.request, ...walk.response]);
});

Deno.test({
  name: "architecture: the walk over uds is that of a real call",
  ignore: Deno.build.os === "windows",
  fn: async () => {
    const walk = await documented("uds");
    const seen: Record<string, string[]> = {};
    await using here = await place();
    await using server = await here.open("one");
    await using client = await here.open("two");
    await server.serve("one/x", () => {
      seen["request arrives"] = stack();
      return watched(() => seen["response leaves"] = stack());
    });
    const response = looking(() => seen["response arrives"] = stack());
    const caller = client.callable(defineCallable({ address: "one/x", response }));
    // The first call dials; the second finds the connection there, and its binding up to date.
    await caller.call({ value: 1 });
    await caller.bind();
    await caller.call(watched(() => seen["request leaves"] = stack()));
    assert.deepEqual(seen, {
      ...walk,
      "response leaves": [...walk["request arrives"], ...walk["response leaves"]],
    });
  },
});
