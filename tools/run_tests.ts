/**
 * Runs all tests, then all documented examples, and ends with one plain line: `N passed, N failed`,
 * or `N passed, N failed, N skipped`. With arguments it runs `deno test` with those instead.
 *
 * @module
 */
import { plain } from "./deno.ts";
import { docTestArgs, documentedFiles } from "./doc_tests.ts";
import { PROJECT_ROOT } from "./workspace.ts";

/** How many tests ended how. */
export interface Tally {
  /** Tests that passed. */
  passed: number;
  /** Tests that failed; a run that broke off counts as at least one. */
  failed: number;
  /** Tests that were ignored. */
  skipped: number;
}

const SUMMARY =
  /^(?:ok|FAILED) \| (\d+) passed(?: \([^)]*\))? \| (\d+) failed(?: \([^)]*\))?(?: \| (\d+) ignored)?/;

/**
 * Reads the summary that `deno test` prints last.
 *
 * @param output What it printed.
 * @param code Its exit code: a run that ends badly, or without a summary, counts as a failure.
 */
export function readTally(output: string, code: number): Tally {
  const tally: Tally = { passed: 0, failed: 0, skipped: 0 };
  const summary = plain(output).split(/\r?\n/).map((line) => SUMMARY.exec(line.trim()))
    .findLast((match) => match !== null);
  if (summary) {
    tally.passed = Number(summary[1]);
    tally.failed = Number(summary[2]);
    tally.skipped = Number(summary[3] ?? 0);
  }
  if (tally.failed === 0 && (code !== 0 || !summary)) tally.failed = 1;
  return tally;
}

/** The line that ends the run. */
export function tallyLine({ passed, failed, skipped }: Tally): string {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`;
}

/** Passes a stream on as it comes and returns its end, where the summary stands. */
async function pass(from: ReadableStream<Uint8Array>, to: typeof Deno.stdout): Promise<string> {
  const decoder = new TextDecoder();
  let tail = "";
  for await (const chunk of from) {
    for (let sent = 0; sent < chunk.length;) sent += await to.write(chunk.subarray(sent));
    tail = (tail + decoder.decode(chunk, { stream: true })).slice(-64_000);
  }
  return tail;
}

/** Runs `deno ...args`, shows what it prints and reads the summary. */
async function run(args: string[], cwd: string): Promise<Tally> {
  const colour = Deno.stdout.isTerminal() && !Deno.noColor;
  const child = new Deno.Command(Deno.execPath(), {
    args,
    cwd,
    // A pipe is no terminal, so colours have to be asked for.
    env: { DENO_NO_UPDATE_CHECK: "1", ...(colour ? { FORCE_COLOR: "1" } : { NO_COLOR: "1" }) },
    stdin: "null",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const output = await pass(child.stdout, Deno.stdout);
  return readTally(output, (await child.status).code);
}

if (import.meta.main) {
  const runs: Tally[] = [];
  if (Deno.args.length > 0) {
    runs.push(await run(["test", "-A", ...Deno.args], Deno.cwd()));
  } else {
    runs.push(await run(["test", "-A"], PROJECT_ROOT));
    const documented = await documentedFiles();
    if (documented.length > 0) runs.push(await run(docTestArgs(documented), PROJECT_ROOT));
  }
  const sum = (key: keyof Tally) => runs.reduce((total, tally) => total + tally[key], 0);
  const total: Tally = { passed: sum("passed"), failed: sum("failed"), skipped: sum("skipped") };
  console.log(tallyLine(total));
  Deno.exit(total.failed === 0 ? 0 : 1);
}
