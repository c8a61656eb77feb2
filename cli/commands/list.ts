/**
 * `patchbay list`: who lives on this host, what they offer, over which wires, and their counters.
 *
 * @module
 */

import type {
  DirectoryEndpoint,
  DirectoryEntry,
  EndpointSnapshot,
  StatisticsSnapshot,
} from "@patchbay/core";
import type { CommonOptions, Context } from "../context.ts";
import { EXIT } from "../complaint.ts";
import { formatAge, formatBytes, formatCount, formatDuration } from "../units.ts";
import type { Paint } from "../paint.ts";
import { width } from "../table.ts";
import { until } from "../until.ts";
import { type Foreign, openForeign } from "./list_offers.ts";

/** The options of `list`. */
export interface ListCommandOptions extends CommonOptions {
  /** Go on and show changes. */
  readonly watch?: boolean;
  /** Show the counters of each wire, too. */
  readonly wires?: boolean;
}

/** How often `--watch` looks, in milliseconds: counters are published once a second. */
const LOOK_MS = 500;

interface Row {
  readonly pattern: string;
  readonly role: string;
  readonly address: string;
  readonly wires: readonly string[];
  readonly shared?: boolean;
  readonly counters?: EndpointSnapshot;
}

interface Module {
  readonly entry: DirectoryEntry;
  readonly statistics: StatisticsSnapshot | undefined;
  readonly rows: readonly Row[];
}

/**
 * Lists the live modules.
 *
 * @param context The surroundings.
 * @param options Whether to go on, and what every command has.
 */
export async function list(context: Context, options: ListCommandOptions): Promise<number> {
  const { screen } = context;
  const runtimeDir = await context.runtimeDir();
  await using foreign = await openForeign(context, options.via);
  const look = () =>
    context.within("looking", async () => {
      const modules = await lookAt(runtimeDir, options.via);
      return { modules, others: await foreign.look(modules.map(({ entry }) => entry.id)) };
    });
  let { modules, others } = await look();
  if (options.watch !== true) {
    if (screen.json) {
      for (const each of modules) screen.value(plain(each));
      for (const each of others) screen.value(each);
    } else draw(context, modules, others, runtimeDir, options);
    return EXIT.ok;
  }
  const stop = context.interrupted;
  let shown = "";
  for (;;) {
    const now = JSON.stringify([...modules.map(plain), ...others]);
    if (now !== shown || screen.live) {
      if (screen.json) {
        const told = others.length > 0 ? { others } : {};
        screen.value({ event: "modules", atMs: Date.now(), modules: modules.map(plain), ...told });
      } else {
        screen.clear();
        if (!screen.live && shown !== "") screen.line();
        draw(context, modules, others, runtimeDir, options);
      }
      shown = now;
    }
    if (await until(stop, { timeoutMs: LOOK_MS }) === "stopped") return EXIT.ok;
    ({ modules, others } = await look());
  }
}

async function lookAt(runtimeDir: string, via: readonly string[] | undefined): Promise<Module[]> {
  const { listModules, statisticsOf } = await import("@patchbay/host");
  const entries = await listModules(runtimeDir);
  const modules = await Promise.all(entries.map(async (entry) => {
    const statistics = await statisticsOf(entry.instance, runtimeDir);
    return { entry, statistics, rows: rowsOf(entry, statistics) };
  }));
  if (via === undefined) return modules;
  return modules.flatMap((each) => {
    const rows = each.rows.filter((row) => row.wires.some((wire) => via.includes(wire)));
    return rows.length > 0 ? [{ ...each, rows }] : [];
  });
}

/** What the directory names, and the callers and owners that only the counters know. */
function rowsOf(entry: DirectoryEntry, statistics: StatisticsSnapshot | undefined): Row[] {
  const counted = statistics?.endpoints ?? [];
  const named = entry.endpoints.map(({ pattern, role, address, wires, shared }) => ({
    pattern,
    role: role as string,
    address,
    wires,
    shared,
    counters: counted.find((one) => matches(one, { pattern, role, address, wires })),
  }));
  const clients = counted
    .filter((one) => one.role === "client" && !one.address.startsWith("("))
    .map((one) => ({
      pattern: one.pattern,
      role: one.role as string,
      address: one.address,
      wires: one.transport.split(","),
      counters: one,
    }));
  return [...named, ...clients].sort((a, b) =>
    a.address < b.address ? -1 : a.address > b.address ? 1 : a.role < b.role ? -1 : 1
  );
}

function matches(one: EndpointSnapshot, endpoint: DirectoryEndpoint): boolean {
  return one.pattern === endpoint.pattern && one.role === endpoint.role &&
    one.address === endpoint.address && one.transport === endpoint.wires.join(",");
}

function plain({ entry, statistics, rows }: Module): Record<string, unknown> {
  const { module, instance, pid, startedAtMs, wires } = entry;
  const endpoints = rows.map(({ counters, ...row }) => {
    const { pattern: _p, role: _r, address: _a, transport: _t, ...counts } = counters ?? {};
    return counters === undefined ? row : { ...row, counters: counts };
  });
  return {
    module,
    instance,
    pid,
    startedAtMs,
    wires,
    endpoints,
    transports: statistics?.transports,
  };
}

function draw(
  { screen }: Context,
  modules: readonly Module[],
  others: readonly Foreign[],
  runtimeDir: string,
  { wires, via }: ListCommandOptions,
): void {
  const { paint } = screen;
  if (modules.length > 0 || others.length === 0) drawModules(screen, modules, runtimeDir);
  for (const { wire, offers } of others) {
    screen.line(paint.bold(`on ${wire}, by others`));
    const cells = offers.map(({ address, pattern, detail }) => [
      `  ${paint.cyan(address)}`,
      pattern,
      detail ?? "",
    ]);
    for (const line of screen.layout(cells, {})) screen.line(line);
  }
  if (wires === true) drawWires(screen, modules, via);
}

function drawModules(
  screen: Context["screen"],
  modules: readonly Module[],
  runtimeDir: string,
): void {
  const { paint } = screen;
  if (modules.length === 0) {
    screen.line(paint.dim(`nobody is there (${runtimeDir})`));
    return;
  }
  const head = HEADINGS.map((each) => paint.dim(each));
  const blocks = modules.map(({ entry, rows }) => ({
    title: titleOf(entry, paint),
    cells: rows.map((row) => endpointCells(row, paint)),
  }));
  const cells = [head, ...blocks.flatMap((block) => block.cells)];
  const lines = fitting(screen, cells);
  screen.line(lines.shift());
  for (const { title, cells } of blocks) {
    screen.line(title);
    for (const _ of cells) screen.line(lines.shift());
    if (cells.length === 0) screen.line(`  ${paint.dim("(no endpoints)")}`);
  }
}

/** What each wire of each module has carried, as far as it was published. */
function drawWires(
  screen: Context["screen"],
  modules: readonly Module[],
  via: readonly string[] | undefined,
): void {
  const { paint } = screen;
  const count = (n: number) => n === 0 ? paint.dim("0") : formatCount(n);
  const faulty = (counts: Record<string, number>) => {
    const all = Object.entries(counts).filter(([, n]) => n > 0);
    const text = all.map(([reason, n]) => `${reason} ${formatCount(n)}`).join(", ");
    return text === "" ? paint.dim("0") : paint.red(text);
  };
  const rows = modules.flatMap(({ entry, statistics }) =>
    (statistics?.transports ?? []).filter(({ name }) => via?.includes(name) ?? true).map((wire) => [
      paint.cyan(wire.name),
      entry.instance,
      wire.health === "healthy" ? paint.green(wire.health) : paint.red(wire.health),
      count(wire.connections),
      count(wire.reconnections),
      count(wire.messagesIn),
      count(wire.messagesOut),
      formatBytes(wire.bytesIn),
      formatBytes(wire.bytesOut),
      faulty(wire.errors),
      faulty(wire.drops),
    ])
  );
  screen.line();
  if (rows.length === 0) return screen.line(paint.dim("(no wire has published counters yet)"));
  const head = WIRE_HEADINGS.map((each) => paint.dim(each));
  for (const line of screen.layout([head, ...rows], { right: [3, 4, 5, 6, 7, 8] })) {
    screen.line(line);
  }
}

const WIRE_HEADINGS: readonly string[] = [
  "WIRE",
  "OF",
  "HEALTH",
  "CONN",
  "AGAIN",
  "IN",
  "OUT",
  "BYTES IN",
  "BYTES OUT",
  "ERR",
  "DROP",
];

const HEADINGS: readonly string[] = [
  "ENDPOINT",
  "PATTERN",
  "ROLE",
  "WIRES",
  "IN",
  "OUT",
  "BYTES",
  "ERR",
  "DROP",
  "P50",
  "P99",
];
/** What a narrow screen goes without, the first to go first. */
const DISPENSABLE: readonly string[] = ["BYTES", "ROLE", "P99", "P50", "DROP", "WIRES"];

/** The table with as many columns as there is room for. */
function fitting(screen: Context["screen"], cells: readonly string[][]): string[] {
  let names = HEADINGS;
  for (let gone = 0;; gone++) {
    names = HEADINGS.filter((name) => !DISPENSABLE.slice(0, gone).includes(name));
    const kept = cells.map((row) => row.filter((_, i) => names.includes(HEADINGS[i])));
    const right = names.flatMap((name, i) => HEADINGS.indexOf(name) >= 4 ? [i] : []);
    const lines = screen.layout(kept, { right, columns: Infinity });
    const wide = Math.max(...lines.map(width));
    if (!screen.live || wide <= screen.columns || gone === DISPENSABLE.length) return lines;
  }
}

function titleOf(entry: DirectoryEntry, paint: Paint): string {
  const { module, instance, pid, startedAtMs } = entry;
  const name = instance === module ? [] : [instance];
  const age = formatAge(Date.now() - startedAtMs);
  return [paint.bold(module), ...name, paint.dim(`pid ${pid}, up ${age}`)].join(" ");
}

function endpointCells(row: Row, paint: Paint): string[] {
  const { counters } = row;
  const count = (n: number | undefined) => n === undefined ? paint.dim("–") : formatCount(n);
  const sum = (counts: Record<string, number> | undefined) =>
    counts === undefined ? undefined : Object.values(counts).reduce((a, b) => a + b, 0);
  const faulty = (n: number | undefined) => n ? paint.red(formatCount(n)) : count(n);
  const bytes = counters === undefined
    ? paint.dim("–")
    : formatBytes(counters.bytesIn + counters.bytesOut);
  const time = (seconds: number | undefined) =>
    seconds === undefined ? paint.dim("–") : formatDuration(seconds * 1000);
  return [
    `  ${paint.cyan(row.address)}`,
    row.pattern,
    row.shared ? `${row.role} (shared)` : row.role,
    row.wires.join(" "),
    count(counters?.messagesIn),
    count(counters?.messagesOut),
    bytes,
    faulty(sum(counters?.errors)),
    faulty(sum(counters?.drops)),
    time(counters?.durations?.p50),
    time(counters?.durations?.p99),
  ];
}
