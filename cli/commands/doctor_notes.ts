/**
 * The part of `patchbay doctor` about live modules: what their wires say people should know.
 *
 * @module
 */

import type { Context } from "../context.ts";

/** One thing that a wire of a live module says. */
interface Note {
  /** The module's instance. */
  readonly module: string;
  /** The wire. */
  readonly wire: string;
  /** What it says. */
  readonly note: string;
}

/**
 * Prints what the wires of live modules say.
 *
 * @param context The surroundings.
 * @param runtimeDirectory Where the modules are.
 * @param wires The wires asked for; none means all.
 */
export async function printNotes(
  context: Context,
  runtimeDirectory: string,
  wires: readonly string[],
): Promise<void> {
  const { listModules, statisticsOf } = await import("@patchbay/host");
  const notes: Note[] = [];
  for (const { instance } of await listModules(runtimeDirectory, { clean: false })) {
    const statistics = await statisticsOf(instance, runtimeDirectory);
    for (const { name, notes: said = [] } of statistics?.transports ?? []) {
      if (wires.length > 0 && !wires.includes(name)) continue;
      notes.push(...said.map((note) => ({ module: instance, wire: name, note })));
    }
  }
  const { screen } = context;
  const { paint } = screen;
  for (const { module, wire, note } of notes) {
    if (screen.json) screen.value({ note: { module, wire, note } });
    else screen.line(`${paint.yellow("!")} ${paint.bold(module)} over ${wire}: ${note}`);
  }
}
