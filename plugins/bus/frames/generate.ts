/**
 * Reads a file of frame definitions and writes it in every language.
 *
 * @module
 */

import { readCppFrames } from "./assemble.ts";
import { writeCHeader } from "./c_header.ts";
import { type FrameDefinitions, known, layoutText } from "./definitions.ts";
import { fingerprintOf, type FrameSignature, layoutDigest } from "./fingerprint.ts";
import { writePython } from "./python.ts";
import { writeTypeScript } from "./typescript.ts";
import { readYamlFrames } from "./yaml_frames.ts";
import type { ReadInclude } from "./cpp_header.ts";

/** What tells one set of definitions from another. */
export interface Digests {
  /** Of the whole. */
  readonly fingerprint: string;
  /** Of each struct's layout, by its name. */
  readonly layouts: ReadonlyMap<string, string>;
}

/** The files that come of one file of definitions. */
export interface GeneratedFiles {
  /** A TypeScript module. */
  readonly typescript: string;
  /** A C header (C99, and C++). */
  readonly c: string;
  /** A Python module (3.8 or later). */
  readonly python: string;
}

/**
 * Reads definitions: YAML by its extension, else a C++ header.
 *
 * @param file How errors name it.
 * @param text Its content.
 * @param readInclude Finds files that a header includes.
 */
export function readFrames(file: string, text: string, readInclude: ReadInclude): FrameDefinitions {
  return /\.ya?ml$/.test(file)
    ? readYamlFrames(file, text)
    : readCppFrames(file, text, readInclude);
}

/** Computes what tells a set of definitions from another. */
export async function digestsOf(definitions: FrameDefinitions): Promise<Digests> {
  const layouts = new Map<string, string>();
  for (const struct of definitions.structs.values()) {
    layouts.set(struct.name, await layoutDigest(layoutText(definitions, struct)));
  }
  const signatures = definitions.frames.flatMap(({ name, number, struct }): FrameSignature[] =>
    struct === undefined ? [] : [{ name, number, layout: known(layouts, struct) }]
  );
  return { layouts, fingerprint: await fingerprintOf(signatures) };
}

/**
 * Writes definitions in every language.
 *
 * @param definitions What to write.
 * @param command The command that does it, for line 1 of each file.
 */
export async function generateFrames(
  definitions: FrameDefinitions,
  command: string,
): Promise<GeneratedFiles> {
  const digests = await digestsOf(definitions);
  return {
    typescript: writeTypeScript(definitions, digests, command),
    c: writeCHeader(definitions, digests, command),
    python: writePython(definitions, digests, command),
  };
}
