/**
 * Writes the tables of READMEs that follow from the code: the wires, each plugin's configuration,
 * and the figures of the bench.
 * They stand between `<!-- wires:begin -->` and `<!-- wires:end -->`, and so on.
 *
 * @module
 */
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { ConfigField, Plugin, Scope } from "@patchbay/core";
import { packages, PROJECT_ROOT } from "./workspace.ts";

/** A plugin of this workspace, and its folder. */
export interface FoundPlugin {
  /** The plugin. */
  readonly plugin: Plugin;
  /** Its folder, relative to the root: `plugins/uds`. */
  readonly folder: string;
}

const SCOPES: readonly Scope[] = ["process", "host", "network"];

/**
 * The plugins of a workspace, in the order in which they are preferred.
 *
 * @param root The workspace's folder.
 */
export async function workspacePlugins(root: string = PROJECT_ROOT): Promise<FoundPlugin[]> {
  const found: FoundPlugin[] = [];
  for (const { dir, exports } of await packages(root)) {
    // One that has no entry yet is no plugin yet, for the loader neither.
    if (!dir.startsWith("plugins/") || exports["."] === undefined) continue;
    const loaded: { default: Plugin } = await import(
      pathToFileURL(join(root, dir, "mod.ts")).href
    );
    found.push({ plugin: loaded.default, folder: dir });
  }
  return found.sort(({ plugin: a }, { plugin: b }) =>
    SCOPES.indexOf(a.scope) - SCOPES.indexOf(b.scope) || a.rank - b.rank
  );
}

/** A table in Markdown, as `deno fmt` writes it. */
function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0].map((_, column) =>
    Math.max(3, ...rows.map((row) => [...row[column]].length))
  );
  const line = (row: readonly string[]) =>
    `| ${row.map((cell, i) => cell + " ".repeat(widths[i] - [...cell].length)).join(" | ")} |`;
  const [head, ...body] = rows;
  return [line(head), line(widths.map((width) => "-".repeat(width))), ...body.map(line)].join("\n");
}

/** A size in words. */
function size(bytes: number): string {
  if (bytes === Infinity) return "no limit";
  for (const [unit, name] of [[2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"]] as const) {
    if (bytes % unit === 0) return `${bytes / unit} ${name}`;
  }
  return `${bytes} B`;
}

function yes(value: boolean): string {
  return value ? "yes" : "no";
}

function jobs({ capabilities, traits }: Plugin): string {
  return capabilities.job ? traits.job : "no";
}

/**
 * The table of wires, from what their plugins declare.
 *
 * @param plugins The plugins.
 */
export function wiresTable(plugins: readonly Plugin[]): string {
  const head = [
    "wire",
    "reaches",
    "calls",
    "shouts",
    "jobs",
    "delivery",
    "ordered",
    "retained",
    "headers",
    "largest payload",
    "slow listener can hold its speaker",
    "dead peer noticed at once",
  ];
  const rows = plugins.map((plugin) => {
    const { capabilities, traits } = plugin;
    return [
      `\`${plugin.name}\``,
      `this ${plugin.scope}`.replace("this network", "the network"),
      yes(capabilities.callable),
      yes(capabilities.speaker),
      jobs(plugin),
      traits.delivery.replaceAll("_", " "),
      yes(traits.ordered),
      yes(traits.retained),
      traits.shoutHeaders === false && traits.headers ? "not with shouts" : yes(traits.headers),
      size(traits.maxPayloadBytes),
      yes(traits.backpressure),
      yes(traits.noticesDeath),
    ];
  });
  return table([head, ...rows]);
}

function allowed(field: ConfigField): string {
  if (field.oneOf !== undefined) return field.oneOf.map((one) => `\`${one}\``).join(", ");
  const from = field.min === undefined ? "" : `, from ${field.min}`;
  const to = field.max === undefined ? "" : `, to ${field.max}`;
  return field.kind + from + to;
}

/**
 * The table of a plugin's configuration, from its `config.fields`.
 *
 * @param plugin The plugin.
 */
export function configTable(plugin: Plugin): string {
  const { fields } = plugin.config;
  if (fields === undefined) return "It has a schema of its own, without a table of fields.";
  const rows = Object.entries(fields).map(([name, field]) => [
    `\`${name}\``,
    allowed(field),
    field.default === undefined ? "none" : `\`${JSON.stringify(field.default)}\``,
    field.description,
  ]);
  if (rows.length === 0) return "There is nothing to configure.";
  return table([["key", "value", "default", "what it does"], ...rows]);
}

/**
 * The figures of the bench that have a target, with what was missed, by where they were measured.
 *
 * @param results The text of `bench/RESULTS.md`.
 */
export function benchTable(results: string): string {
  const placements: string[] = [];
  const figures = new Map<string, { target: string; cells: Map<string, string> }>();
  let suite = "";
  let placement = "";
  let head: string[] = [];
  for (const line of results.split("\n")) {
    const heading = /^### (\w+): (.+)$/.exec(line);
    if (heading !== null) [, suite, placement] = heading;
    const cells = line.split("|").slice(1, -1).map((cell) => cell.trim());
    if (cells[0] === "figure") head = cells;
    const at = (name: string) => cells[head.indexOf(name)] ?? "";
    if (heading !== null || at("target") === "" || at("figure") === "figure") continue;
    if (/^-+$/.test(at("figure"))) continue;
    if (!placements.includes(placement)) placements.push(placement);
    const name = `${suite}: ${at("figure")}`;
    const figure = figures.get(name) ?? { target: at("target"), cells: new Map() };
    figures.set(name, figure);
    const ratio = at("ratio") === ""
      ? ""
      : `, ${at("ratio")} × ${at("floor").replace(/^.*?, /, "")}`;
    figure.cells.set(placement, `${at("ours")}${ratio}${at("met") === "NO" ? "; **missed**" : ""}`);
  }
  return table([
    ["figure", "target", ...placements],
    ...[...figures].map(([name, { target, cells }]) => [
      name,
      target,
      ...placements.map((one) => cells.get(one) ?? ""),
    ]),
  ]);
}

/**
 * Replaces what stands between two markers.
 *
 * @param text The document.
 * @param name The markers' name.
 * @param content What is to stand there.
 * @throws {Error} The markers are not there, each once.
 */
export function between(text: string, name: string, content: string): string {
  const begin = `<!-- ${name}:begin -->`;
  const end = `<!-- ${name}:end -->`;
  const parts = [text.split(begin), text.split(end)];
  if (parts.some((part) => part.length !== 2) || text.indexOf(begin) > text.indexOf(end)) {
    throw new Error(`the markers ${begin} and ${end} must be there, once and in this order`);
  }
  return `${parts[0][0]}${begin}\n\n${content}\n\n${end}${parts[1][1]}`;
}

/** A document whose generated part is not what the code says. */
export interface Stale {
  /** Its path, relative to the root. */
  readonly path: string;
  /** What it should be. */
  readonly text: string;
}

/**
 * The documents whose tables are not what the code says.
 *
 * @param root The workspace's folder.
 */
export async function staleTables(root: string = PROJECT_ROOT): Promise<Stale[]> {
  const found = await workspacePlugins(root);
  const wanted: [path: string, name: string, content: string][] = [
    ["README.md", "wires", wiresTable(found.map(({ plugin }) => plugin))],
    [
      "README.md",
      "bench",
      benchTable(await Deno.readTextFile(join(root, "bench/RESULTS.md"))),
    ],
    ...found.map(({ plugin, folder }): [string, string, string] => [
      `${folder}/README.md`,
      "config",
      configTable(plugin),
    ]),
  ];
  const texts = new Map<string, { before: string; after: string }>();
  for (const [path, name, content] of wanted) {
    try {
      const before = texts.get(path)?.before ?? await Deno.readTextFile(join(root, path));
      const text = texts.get(path)?.after ?? before;
      // Its author may have written one by hand: `patchbay new plugin` does not know the table.
      if (path !== "README.md" && !text.includes(`<!-- ${name}:`)) continue;
      texts.set(path, { before, after: between(text, name, content) });
    } catch (error) {
      throw new Error(`${path}: ${(error as Error).message}`);
    }
  }
  return [...texts].filter(([, { before, after }]) => before !== after)
    .map(([path, { after }]) => ({ path, text: after }));
}

if (import.meta.main) {
  for (const { path, text } of await staleTables()) {
    await Deno.writeTextFile(join(PROJECT_ROOT, path), text);
    console.log(`written ${path}`);
  }
}
