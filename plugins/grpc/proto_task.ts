/**
 * `deno task proto FILE [OUTPUT]`: writes the TypeScript types of a `.proto` beside it.
 *
 * @module
 */

import { loadProto } from "./proto_file.ts";
import { typesOf } from "./proto_types.ts";

/**
 * The types of a file, as the task writes them.
 *
 * @param file The path of the `.proto`.
 */
export function generated(file: string): string {
  const proto = loadProto(file);
  const text = typesOf(proto, file.slice(file.lastIndexOf("/") + 1));
  if (proto.services.length === 0) return text;
  const [first, ...rest] = text.split("\n");
  const line = 'import type { MethodContext } from "@patchbay/grpc";';
  return [first, "", line, ...rest].join("\n");
}

if (import.meta.main) {
  const [file, output] = Deno.args;
  if (file === undefined) {
    console.error("usage: deno task proto FILE.proto [OUTPUT.ts]");
    Deno.exit(2);
  }
  const target = output ?? file.replace(/\.proto$/, "_proto.ts");
  try {
    await Deno.writeTextFile(target, generated(file));
    console.log(target);
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    const remedy = (error as { remedy?: unknown }).remedy;
    if (typeof remedy === "string") console.error(remedy);
    Deno.exit(1);
  }
}
