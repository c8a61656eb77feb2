/**
 * Frames: small, typed, binary messages, defined once for every language.
 *
 * `deno task frames FILE` reads a C++ header or YAML and writes TypeScript, C and Python.
 *
 * @module
 */

export { readCppFrames } from "./assemble.ts";
export type { ReadInclude } from "./cpp_header.ts";
export * from "./definitions.ts";
export * from "./fields.ts";
export * from "./fingerprint.ts";
export * from "./frame.ts";
export * from "./generate.ts";
export { readYamlFrames } from "./yaml_frames.ts";
