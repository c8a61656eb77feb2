/**
 * Finds frame definitions at run time: what `deno task frames` has written, or what it would read.
 *
 * @module
 */

import { basename, dirname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { PatchbayError } from "@patchbay/core";
import type { FrameSet } from "./frame.ts";

/**
 * Reads files that a header includes: from its own folder, or the first file's.
 *
 * @param top The first file.
 */
export function includeFrom(
  top: string,
): (name: string, from: string) => { file: string; text: string } | undefined {
  return (name: string, from: string) => {
    for (const folder of new Set([dirname(from), dirname(top)])) {
      const file = join(folder, name);
      try {
        return { file, text: Deno.readTextFileSync(file) };
      } catch (error) {
        if (!(error instanceof Deno.errors.NotFound)) throw error;
      }
    }
    return undefined;
  };
}

/**
 * Loads definitions: a generated TypeScript module, or the C++ header or YAML that it was made of.
 *
 * @param file Its path.
 * @throws `invalid`: there are no definitions in it; `not_found`: there is no such file.
 */
export async function loadFrames(file: string): Promise<FrameSet> {
  const path = resolve(file);
  try {
    await Deno.stat(path);
  } catch (error) {
    throw new PatchbayError("not_found", `the frame definitions ${file} cannot be read`, {
      remedy: "name a file that deno task frames has written, or that it reads",
      cause: error,
    });
  }
  if (/\.[cm]?[jt]s$/.test(path)) return await imported(path, file);
  // The compiler of TypeScript takes files only.
  const { generateFrames, readFrames } = await import("./generate.ts");
  const definitions = readFrames(file, await Deno.readTextFile(path), includeFrom(file));
  const { typescript } = await generateFrames(definitions, `deno task frames ${basename(file)}`);
  const runtime = JSON.stringify(import.meta.resolve("./mod.ts"));
  const folder = await Deno.makeTempDir({ prefix: "pb-frames-" });
  try {
    const made = join(folder, "frames.ts");
    await Deno.writeTextFile(made, typescript.replace('"@patchbay/bus/frames"', runtime));
    return await imported(made, file);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function imported(path: string, file: string): Promise<FrameSet> {
  const { frames } = await import(pathToFileURL(path).href) as { frames?: FrameSet };
  // Another copy of the library may have made it: what counts is what it has.
  if (frames?.byName instanceof Map && typeof frames.fingerprint === "string") return frames;
  throw new PatchbayError("invalid", `${file} exports no frames`, {
    remedy: "name a file that deno task frames has written, or that it reads",
  });
}
