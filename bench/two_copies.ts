/**
 * The floor of large messages between two cores, where a C compiler is installed: the same two copies
 * in C, in one process.
 *
 * @module
 */

import { fileURLToPath } from "node:url";
import { start, type Started } from "./asked.ts";

const SOURCE = fileURLToPath(new URL("./two_copies.c", import.meta.url));

/**
 * Compiles the program and starts it.
 *
 * @param folder A temporary folder.
 * @param cores Where both of its threads run.
 * @returns It is asked for bytes a second; `undefined` where there is no compiler.
 */
export async function startTwoCopies(
  folder: string,
  cores: string | undefined,
): Promise<Started | undefined> {
  const program = `${folder}/two_copies`;
  try {
    const { success } = await new Deno.Command("gcc", {
      args: ["-O2", "-pthread", SOURCE, "-o", program],
      stderr: "inherit",
    }).output();
    return success ? await start(cores, program, []) : undefined;
  } catch {
    return undefined;
  }
}
