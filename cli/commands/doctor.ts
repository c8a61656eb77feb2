/**
 * `patchbay doctor`: what every wire is, whether it works here, and what it needs.
 *
 * @module
 */

import { type Capabilities, nearest, PatchbayError, type Traits } from "@patchbay/core";
import type { BrokenPlugin, HostReport, PluginReport } from "@patchbay/host";
import type { CommonOptions, Context } from "../context.ts";
import { EXIT } from "../complaint.ts";
import type { Paint } from "../paint.ts";
import { formatBytes } from "../units.ts";
import { printNotes } from "./doctor_notes.ts";
import { VERSION } from "../version.ts";

/** The options of `doctor`. */
export interface DoctorCommandOptions extends CommonOptions {
  /** Tell more. */
  readonly verbose?: boolean;
  /** Print the configuration of every wire. */
  readonly configTable?: boolean;
  /** Remove what dead processes have left. */
  readonly clean?: boolean;
}

/**
 * Prints what is known about every wire. Fails if one of those that were named is not available.
 *
 * @param context The surroundings.
 * @param names The wires asked for; none means all.
 * @param options How much to tell, and what every command has.
 */
export async function doctor(
  context: Context,
  names: readonly string[],
  options: DoctorCommandOptions,
): Promise<number> {
  const [{ builtins }, { bayPermissions, inspect }] = await Promise.all([
    import("@patchbay/patchbay"),
    import("@patchbay/host"),
  ]);
  const { onReport: _, ...host } = context.hostOptions();
  const { clean } = options;
  const report = await context.within(
    "the examination",
    () => inspect({ ...host, builtins }, { clean }),
  );
  const wanted = [...names, ...options.via ?? []];
  const chosen = choose(report, wanted);
  const { runtimeDirectory } = report;
  const base = runtimeDirectory === undefined
    ? []
    : bayPermissions({ module: "module", runtimeDir: runtimeDirectory });
  if (context.screen.json) printJson(context, report, chosen, base);
  else print(context, report, chosen, base, wanted.length > 0, options);
  if (runtimeDirectory !== undefined) await printNotes(context, runtimeDirectory, wanted);
  const failing = wanted.length === 0 ? [] : [
    ...chosen.plugins.flatMap(({ name, availability }) =>
      availability.available ? [] : [{ name, ...availability }]
    ),
    ...chosen.broken,
  ];
  const [first] = failing;
  if (first === undefined) return EXIT.ok;
  throw new PatchbayError("unavailable", `${first.name} cannot be used here: ${first.reason}`, {
    transport: first.name,
    remedy: first.remedy,
  });
}

type Chosen = Pick<HostReport, "plugins" | "broken">;

function choose(report: HostReport, wanted: readonly string[]): Chosen {
  if (wanted.length === 0) return report;
  const known = [...report.plugins, ...report.broken].map((one) => one.name);
  const strange = wanted.find((name) => !known.includes(name));
  if (strange !== undefined) {
    const near = nearest(strange, known);
    throw new PatchbayError("not_found", `there is no wire ${JSON.stringify(strange)}`, {
      details: { known },
      remedy: near === undefined
        ? `one of ${known.join(", ")}; others come from a plugins folder`
        : `did you mean ${near}?`,
    });
  }
  return {
    plugins: report.plugins.filter((one) => wanted.includes(one.name)),
    broken: report.broken.filter((one) => wanted.includes(one.name)),
  };
}

function printJson({ screen }: Context, report: HostReport, chosen: Chosen, base: string[]): void {
  const { runtimeDirectory, runtimeProblem, configFile, pluginDirectories } = report;
  const { os, arch } = Deno.build;
  screen.value({
    host: {
      patchbay: VERSION,
      deno: Deno.version.deno,
      os,
      arch,
      runtimeDirectory,
      runtimeProblem: runtimeProblem?.toWire(),
      configFile,
      pluginDirectories,
      permissions: base,
    },
  });
  for (const plugin of chosen.plugins) {
    const { maxPayloadBytes } = plugin.traits;
    // JSON has no infinity.
    const traits = {
      ...plugin.traits,
      maxPayloadBytes: maxPayloadBytes === Infinity ? null : maxPayloadBytes,
    };
    screen.value({ plugin: { ...plugin, traits } });
  }
  for (const broken of chosen.broken) screen.value({ broken });
  for (const stale of report.stale) screen.value({ stale });
  for (const removed of report.removed) screen.value({ removed });
}

function print(
  context: Context,
  report: HostReport,
  chosen: Chosen,
  base: string[],
  some: boolean,
  options: DoctorCommandOptions,
): void {
  const { screen } = context;
  const { paint } = screen;
  if (!some) {
    const { os, arch } = Deno.build;
    const problem = report.runtimeProblem;
    screen.table([
      [paint.bold("patchbay"), `${VERSION}, deno ${Deno.version.deno}, ${os} ${arch}`],
      [
        paint.bold("runtime directory"),
        problem === undefined
          ? report.runtimeDirectory ?? "none"
          : `${paint.red(problem.message)} ${paint.yellow(`→ ${problem.remedy ?? ""}`)}`,
      ],
      [paint.bold("configuration"), report.configFile ?? paint.dim("no file: the defaults")],
      [paint.bold("plugin folders"), report.pluginDirectories.join(", ") || paint.dim("none")],
      [paint.bold("every module needs"), base.join(" ") || paint.dim("nothing")],
    ]);
    screen.line();
  }
  for (const plugin of chosen.plugins) printPlugin(context, plugin, options);
  for (const broken of chosen.broken) printBroken(context, broken);
  printStale(context, report);
  const working = chosen.plugins.filter((one) => one.availability.available).length;
  const all = chosen.plugins.length + chosen.broken.length;
  if (!some) screen.line(`${working} of ${all} wires can be used here`);
}

function printStale({ screen }: Context, { stale, removed }: HostReport): void {
  const { paint } = screen;
  if (removed.length > 0) {
    screen.line(`${paint.green("✓")} ${paint.bold("removed")}  ${paint.dim("what the dead left")}`);
    screen.table(removed.map((what) => [what]), { indent: "    " });
    screen.line();
  }
  if (stale.length === 0) return;
  screen.line(`${paint.yellow("!")} ${paint.bold("left by dead processes")}`);
  const rows = stale.map(({ what, bytes, instance, wire }) => [
    what,
    paint.dim(instance === undefined ? `${wire}` : `of ${instance}`),
    bytes === undefined ? "" : formatBytes(bytes),
  ]);
  screen.table(rows, { indent: "    " });
  const remedy = stale.some(({ wire }) => wire !== undefined)
    ? "patchbay doctor --clean, or the next start of a module that uses the wire"
    : "patchbay doctor --clean, or the next start of any module";
  screen.table([[paint.dim("removed by"), paint.yellow(remedy)]], { indent: "    " });
  screen.line();
}

function printPlugin(context: Context, plugin: PluginReport, options: DoctorCommandOptions): void {
  const { screen } = context;
  const { paint } = screen;
  const { availability, capabilities, traits } = plugin;
  const state = availability.available
    ? `${paint.green("✓")} ${paint.bold(plugin.name)}`
    : `${paint.red("✗")} ${paint.bold(plugin.name)}`;
  screen.line(`${state}  ${paint.dim(plugin.summary)}`);
  const rows: string[][] = [];
  if (availability.available) {
    rows.push(["available", paint.green(availability.detail ?? "yes")]);
  } else {
    rows.push(["not available", paint.red(availability.reason)]);
    rows.push(["remedy", paint.yellow(availability.remedy)]);
  }
  rows.push(["patterns", patterns(capabilities, traits, paint)]);
  rows.push(["reaches", `${plugin.scope}${options.verbose ? ` (rank ${plugin.rank})` : ""}`]);
  rows.push(["delivery", delivery(traits).join(", ")]);
  rows.push(["permissions", plugin.permissions.join(" ") || paint.dim("those of every module")]);
  if (options.verbose) rows.push(["comes from", plugin.path]);
  screen.table(rows.map(([name, value]) => [paint.dim(name), value]), { indent: "    " });
  if (options.verbose || options.configTable) printConfig(context, plugin);
  screen.line();
}

function patterns(able: Capabilities, traits: Traits, paint: Paint): string {
  const one = (has: boolean, name: string) => has ? name : paint.dim(`no ${name}`);
  const job = able.job && traits.job === "derived" ? "job (derived)" : "job";
  return [one(able.callable, "callable"), one(able.speaker, "speaker"), one(able.job, job)]
    .join(", ");
}

function delivery(traits: Traits): string[] {
  return [
    traits.ordered ? "ordered" : "not ordered",
    traits.delivery.replaceAll("_", " "),
    traits.retained ? "retained values" : "nothing retained",
    traits.headers ? "headers" : "no headers",
    traits.backpressure ? "backpressure" : "no backpressure",
    traits.noticesDeath ? "notices a dead peer" : "a dead peer shows by deadline",
    ...traits.zeroCopy ? ["zero copy"] : [],
    `payload up to ${formatBytes(traits.maxPayloadBytes)}`.replace("up to no limit", "of any size"),
  ];
}

function printConfig({ screen }: Context, { fields }: PluginReport): void {
  const { paint } = screen;
  if (fields === undefined) {
    return screen.line(`    ${paint.dim("configuration: its own schema; see its README")}`);
  }
  const rows = Object.entries(fields).map(([name, field]) => [
    paint.cyan(name),
    field.oneOf === undefined ? field.kind : field.oneOf.join(" | "),
    field.default === undefined ? paint.dim("–") : JSON.stringify(field.default),
    field.description,
  ]);
  if (rows.length === 0) return screen.line(`    ${paint.dim("nothing to configure")}`);
  const head = ["CONFIGURATION", "KIND", "DEFAULT", "WHAT IT DOES"].map((text) => paint.dim(text));
  screen.table([head, ...rows], { indent: "    " });
}

function printBroken({ screen }: Context, { name, path, reason, remedy }: BrokenPlugin): void {
  const { paint } = screen;
  screen.line(`${paint.red("✗")} ${paint.bold(name)}  ${paint.dim("not loaded")}`);
  screen.table([
    [paint.dim("broken"), paint.red(reason)],
    [paint.dim("remedy"), paint.yellow(remedy)],
    [paint.dim("comes from"), path],
  ], { indent: "    " });
  screen.line();
}
