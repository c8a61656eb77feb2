/**
 * What a suite is, and where its processes run.
 *
 * @module
 */

import type { Effort } from "./measure.ts";
import type { Row } from "./report.ts";

/** Where processes run. */
export interface Placement {
  /** Its name in the tables. */
  readonly name: string;
  /** The cores of the suite's own process, as `taskset -c` takes them. */
  readonly near?: string;
  /** The cores of the process it starts. */
  readonly far?: string;
}

/** What a suite is given. */
export interface SuiteContext extends Effort {
  /** Where its processes run. */
  readonly placement: Placement;
}

/** One suite: the default export of its file. */
export interface Suite {
  /** One line about it. */
  readonly summary: string;
  /** Further flags of the process it runs in. */
  readonly flags?: readonly string[];
  /** How many processes work at once. */
  readonly processes: 1 | 2;
  /** Takes its figures. */
  run(context: SuiteContext): Promise<Row[]>;
}

/**
 * The command that runs a Deno program on certain cores.
 *
 * @param cores As `taskset -c` takes them; `undefined`: wherever.
 * @param args The arguments of `deno`.
 */
export function pinned(cores: string | undefined, args: readonly string[]): [string, string[]] {
  if (cores === undefined) return [Deno.execPath(), [...args]];
  return ["taskset", ["-c", cores, Deno.execPath(), ...args]];
}
