/**
 * Runs the very Deno that is running now as a child process.
 *
 * @module
 */

/** How a child ended and what it printed, with colour codes removed. */
export interface Outcome {
  /** The exit code. */
  code: number;
  /** What it wrote to standard output. */
  stdout: string;
  /** What it wrote to standard error. */
  stderr: string;
}

/** Where and how the child runs. */
export interface RunOptions {
  /** Its working directory. */
  cwd?: string;
  /** Environment variables to add to this process's own. */
  env?: Record<string, string>;
  /** Milliseconds after which the child is killed and the run rejects. Default: 120,000. */
  timeoutMs?: number;
}

/** Quiet and colourless, so that output can be read by a program. */
export const PLAIN_ENV: Readonly<Record<string, string>> = {
  NO_COLOR: "1",
  DENO_NO_UPDATE_CHECK: "1",
  RUST_BACKTRACE: "0",
};

// deno-lint-ignore no-control-regex -- ESC is what a colour code starts with
const COLOUR = /\x1b\[[0-9;]*m/g;

/** The text without terminal colour codes. */
export function plain(text: string): string {
  return text.replaceAll(COLOUR, "");
}

/**
 * Runs `deno ...args` to its end and captures what it prints.
 *
 * @param args The arguments after `deno`.
 * @param options Where and how.
 * @throws Error when it outlives `timeoutMs`.
 */
export async function deno(args: string[], options: RunOptions = {}): Promise<Outcome> {
  const { cwd, env, timeoutMs = 120_000 } = options;
  const child = new Deno.Command(Deno.execPath(), {
    args,
    cwd,
    env: { ...PLAIN_ENV, ...env },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  let late = false;
  const watchdog = setTimeout(() => {
    late = true;
    child.kill("SIGKILL");
  }, timeoutMs);
  const { code, stdout, stderr } = await child.output().finally(() => clearTimeout(watchdog));
  const decoder = new TextDecoder();
  const outcome = {
    code,
    stdout: plain(decoder.decode(stdout)),
    stderr: plain(decoder.decode(stderr)),
  };
  if (late) {
    throw new Error(
      `deno ${args.join(" ")} did not end in ${timeoutMs} ms\n${outcome.stdout}${outcome.stderr}`,
    );
  }
  return outcome;
}
