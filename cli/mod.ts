/**
 * The `patchbay` command: calls, shouts, jobs and listening from a shell, what lives on this host,
 * what every wire needs, and skeletons of modules and plugins.
 *
 * `main.ts` runs it; this module lets other programs run it, in surroundings of their own.
 *
 * @module
 */

import { type CommanderError } from "commander";
import { type Complaint, complaintOf, EXIT, OutputClosed } from "./complaint.ts";
import { grammar } from "./grammar.ts";
import { type Io, processIo } from "./io.ts";
import { Screen } from "./screen.ts";

export { type Io, processIo, type Sink } from "./io.ts";
export { VERSION } from "./version.ts";

/**
 * Runs the command.
 *
 * Guaranteed: it rejects never and exits never by itself, but for a second Ctrl-C; what it opened is
 * closed when it resolves. Exit codes: 0 done, 1 failed, 2 the command line was not understood, 130
 * interrupted (128 and the signal's number for others), 141 nobody read the output any longer.
 *
 * @param args The command line without the program's name.
 * @param io The streams, environment and signals; default: this process's own.
 * @returns The exit code.
 *
 * @example
 * ```ts
 * import { main, processIo } from "@patchbay/cli";
 *
 * let text = "";
 * const stdout = { terminal: false, columns: 80, write: (more: string) => void (text += more) };
 * const code = await main(["--version"], { ...processIo(), stdout });
 * if (code !== 0 || !text.startsWith("patchbay ")) throw new Error("unexpected");
 * ```
 */
export async function main(args: readonly string[], io: Io = processIo()): Promise<number> {
  const own = args.includes("--") ? args.slice(0, args.indexOf("--")) : args;
  const screen = new Screen(io, {
    json: own.includes("--json"),
    color: !own.includes("--no-color"),
  });
  const outcome = { code: EXIT.ok as number };
  try {
    await grammar(io, screen.paint.enabled, outcome).parseAsync([...args], { from: "user" });
    return outcome.code;
  } catch (error) {
    if (error instanceof OutputClosed || error instanceof Deno.errors.BrokenPipe) {
      return EXIT.brokenPipe;
    }
    const complaint = isParsing(error) ? parsingComplaint(error, args) : complaintOf(error);
    if (complaint === undefined) return EXIT.ok;
    if (complaint.message !== "") screen.fail(complaint);
    if (io.env("PATCHBAY_DEBUG") === "1") explainAtLength(io, error);
    return complaint.exit;
  }
}

function isParsing(error: unknown): error is CommanderError {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === "string" && code.startsWith("commander.");
}

/** What to say about the parser's error; `undefined`: it only printed help or the version. */
function parsingComplaint(error: CommanderError, args: readonly string[]): Complaint | undefined {
  if (error.exitCode === 0) return undefined;
  // Without a command it prints its help on stderr.
  if (error.code === "commander.help") return { exit: EXIT.usage, code: "usage", message: "" };
  const text = error.message.replace(/^error: /, "");
  const [, foreign] = /^unknown option '([^']*)'/.exec(text) ?? [];
  if (foreign !== undefined && commandOf(args)[0] === "run") {
    const remedy = `options of the module itself after --: patchbay run … -- ${foreign}`;
    return { exit: EXIT.usage, code: "usage", message: `unknown option '${foreign}'`, remedy };
  }
  const [, message, meant] = /^([^]*?)(?:\s*\(Did you mean ([^]*)\?\))?$/.exec(text) ?? [];
  return {
    exit: EXIT.usage,
    code: "usage",
    message: message ?? text,
    remedy: meant === undefined
      ? ["patchbay", ...commandOf(args), "--help"].join(" ")
      : `did you mean ${meant.replace(/^one of /, "")}?`,
  };
}

/** The command in a command line that was not understood, so that its help can be named. */
function commandOf(args: readonly string[]): string[] {
  const at = args.findIndex((arg) => COMMANDS.has(arg));
  if (at < 0) return [];
  const kind = args[at + 1];
  return args[at] === "new" && (kind === "module" || kind === "plugin")
    ? ["new", kind]
    : [args[at]];
}

const COMMANDS: ReadonlySet<string> = new Set(
  "call serve shout listen job bridge list hz bw explain doctor run up bus broker new".split(" "),
);

function explainAtLength(io: Io, error: unknown): void {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    io.stderr.write(`${cause.stack ?? cause}\n`);
  }
}
