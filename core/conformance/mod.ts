/**
 * The conformance suite: the definition of a transport, as tests.
 *
 * A plugin supplies a {@link Fixture} and one line: `conformance(fixture)`. What the plugin declares
 * (capabilities, traits) chooses the cases and what they assert.
 *
 * @module
 */

export * from "./case.ts";
export * from "./plugin_fixture.ts";
export { CASES } from "./cases/mod.ts";
export { CuttingProxy, freePort, type ProxyEnd } from "./cutting_proxy.ts";
export { type FarProgram, obeyLines } from "./far_program.ts";
export type { FarRole, FarSide } from "./far_side.ts";
export { type Args, type RoleName } from "./roles.ts";
export { listens, ServerProcess } from "./server_process.ts";
export * from "./stranger.ts";

import { type Case, layoutsOf, runCase } from "./case.ts";
import { CASES } from "./cases/mod.ts";
import { missing, unavailable } from "./cases/whole.ts";
import { type Fixture, type Layout, MEANS } from "./plugin_fixture.ts";

const TITLE: Readonly<Record<Layout, string>> = {
  alone: "alone",
  same_process: "same process",
  two_processes: "two processes",
};

/** Why a means is not there although nothing is said about it. */
function unexcused(fixture: Fixture): string[] {
  const has: Readonly<Record<string, boolean>> = {
    alone: fixture.layouts.includes("alone"),
    two_processes: fixture.layouts.includes("two_processes") && fixture.join !== undefined,
    unavailable: fixture.unavailable !== undefined,
  };
  return MEANS.filter((means) => has[means] === false && fixture.lacks?.[means] === undefined);
}

/**
 * Registers the conformance tests of one plugin with `Deno.test`.
 *
 * @param fixture The plugin's fixture.
 * @param cases The cases; default: all.
 *
 * @example
 * ```ts ignore
 * import { conformance } from "@patchbay/core/conformance";
 * import fixture from "./fixture.ts";
 *
 * conformance(fixture);
 * ```
 */
export function conformance(fixture: Fixture, cases: readonly Case[] = CASES): void {
  const name = fixture.name ?? fixture.plugin.name;
  Deno.test(`${name}: the fixture has every means, or says why not`, async () => {
    const wanting = unexcused(fixture);
    await using meeting = await fixture.meeting();
    for (const means of ["sever", "stranger"] as const) {
      if (meeting[means] === undefined && fixture.lacks?.[means] === undefined) {
        wanting.push(means);
      }
    }
    if (wanting.length > 0) {
      throw new Error(`the fixture lacks ${wanting.join(", ")}: supply it, or say why in lacks`);
    }
  });
  for (const [title, run] of [...missing(fixture), ...unavailable(fixture)]) {
    Deno.test(`${name}: ${title}`, run);
  }
  for (const one of cases) {
    for (const layout of layoutsOf(one, fixture)) {
      const where = layout === "two_processes" ? fixture.apart ?? TITLE[layout] : TITLE[layout];
      Deno.test(`${name}: ${one.name} [${where}]`, () => runCase(one, fixture, layout));
    }
  }
}
