/**
 * `deno task frames FILE`: reads frame definitions and writes them as TypeScript, C and Python.
 *
 * @module
 */

import { basename, dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { PatchbayError } from "@patchbay/core";
import { generateFrames, readFrames } from "./generate.ts";
import { includeFrom } from "./load.ts";

const USAGE = `Usage: deno task frames FILE [--out FOLDER] [--check]

Reads frame definitions from a C++ header or a YAML file and writes, beside it or into FOLDER:
  <name>_frames.ts    TypeScript: types and classes
  <name>_frames.h     C and C++: packed structs
  <name>_frames.py    Python: dataclasses on struct

  --out FOLDER   where to write
  --check        write nothing; exit with 1 if a file is stale`;

async function main(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      out: { type: "string" },
      check: { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help || positionals.length !== 1) {
    console.log(USAGE);
    return values.help ? 0 : 2;
  }
  const [file] = positionals;
  const definitions = readFrames(file, await Deno.readTextFile(file), includeFrom(file));
  const stem = basename(file).replace(/\.\w+$/, "");
  const short = stem === "frames" ? "" : `${stem}_`;
  const written = await generateFrames(definitions, `deno task frames ${basename(file)}`);
  const out = values.out ?? dirname(file);
  const files: [string, string][] = [
    [`${short}frames.ts`, written.typescript],
    [`${short}frames.h`, written.c],
    [`${short}frames.py`, written.python],
  ];
  let stale = 0;
  if (!values.check) await Deno.mkdir(out, { recursive: true });
  for (const [name, text] of files) {
    const path = join(out, name);
    if (values.check) {
      const there = await Deno.readTextFile(path).catch(() => undefined);
      if (there !== text) {
        console.error(`stale: ${path}`);
        stale++;
      }
    } else {
      await Deno.writeTextFile(path, text);
      console.log(`wrote ${path}`);
    }
  }
  const carrying = definitions.frames.filter(({ struct }) => struct !== undefined).length;
  if (!values.check) console.log(`${carrying} frames`);
  return stale > 0 ? 1 : 0;
}

if (import.meta.main) {
  try {
    Deno.exit(await main(Deno.args));
  } catch (error) {
    const { message, remedy } = error instanceof PatchbayError
      ? error
      : { message: error instanceof Error ? error.message : String(error), remedy: undefined };
    console.error(`error: ${message}${remedy ? `\n  ${remedy}` : ""}`);
    Deno.exit(1);
  }
}
