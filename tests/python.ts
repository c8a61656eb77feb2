/**
 * Finds a Python that has a package, for tests with foreign clients.
 *
 * @module
 */

import { type Requirement, requireOrIgnore } from "./require.ts";

/** A Python to run, and whether tests with it can. */
export interface Python extends Requirement {
  /** The command. */
  readonly command: string;
}

/** The one on the path, and the one that Debian's packages are made for. */
const COMMANDS = ["python3", "/usr/bin/python3"];

/**
 * A Python that can import a package.
 *
 * @param module The package's name.
 * @param remedy What installs it.
 */
export async function pythonWith(module: string, remedy: string): Promise<Python> {
  let found: string | undefined;
  for (const command of COMMANDS) {
    try {
      const { success } = await new Deno.Command(command, {
        args: ["-c", `import ${module}`],
        stdout: "null",
        stderr: "null",
      }).output();
      if (success) found ??= command;
    } catch {
      // There is none of this name.
    }
  }
  const name = `python3-${module}`;
  const requirement = await requireOrIgnore(name, () => found !== undefined, remedy);
  return { ...requirement, command: found ?? COMMANDS[0] };
}

/**
 * Runs a program to its end.
 *
 * @param command What to run.
 * @param args Its arguments.
 * @param env Variables besides.
 * @returns What it wrote, or throws with what it complained of.
 */
export async function written(
  command: string,
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<string> {
  const { code, stdout, stderr } = await new Deno.Command(command, {
    args: [...args],
    env,
    stdout: "piped",
    stderr: "piped",
  }).output();
  const text = new TextDecoder();
  if (code !== 0) throw new Error(`${command} ended with ${code}: ${text.decode(stderr)}`);
  return text.decode(stdout);
}
