/**
 * `patchbay bus`: the manager of a bus; `patchbay bus top`: who is on it, and how they keep up.
 *
 * @module
 */

import { type Bay, PatchbayError, type Plugin } from "@patchbay/core";
import type { CommonOptions, Context } from "../context.ts";
import { EXIT } from "../complaint.ts";
import { busSettings } from "../frames.ts";
import { formatAge, formatCount, formatRate } from "../units.ts";
import { until } from "../until.ts";

/** The options of `bus`. */
export interface BusCommandOptions extends CommonOptions {
  /** The interface. */
  readonly host?: string;
  /** The port. */
  readonly port?: number;
  /** The path of a Unix socket. */
  readonly unix?: string;
  /** The secret of the bus. */
  readonly token?: string;
  /** Refuse a module whose name another one has. */
  readonly unique?: boolean;
  /** Other managers whose buses are joined with this one. */
  readonly bridge?: readonly string[];
  /** A frame passes so many bridges at most. */
  readonly hops?: number;
  /** What other managers call this one. */
  readonly name?: string;
}

/** The options of `bus top`. */
export interface BusTopCommandOptions extends CommonOptions {
  /** The manager. */
  readonly url?: string;
  /** The secret of the bus. */
  readonly token?: string;
  /** How often to look, in milliseconds. */
  readonly interval?: number;
  /** Look once. */
  readonly once?: boolean;
}

/** What the plugin of the bus gives a manager; the command knows the plugin by its name only. */
interface ManagerExtras {
  readonly where: readonly string[];
  modules(): readonly ModuleRow[];
  onAttendance(told: (attendance: Attendance) => void): () => void;
  bridge(bay: Bay, options: {
    readonly urls?: readonly string[];
    readonly hops?: number;
    readonly name?: string;
    readonly onChange: (status: BridgeRow) => void;
    readonly onReport: (error: PatchbayError) => void;
  }): Promise<ManagerBridges>;
}

/** The bridges of a manager. */
interface ManagerBridges extends AsyncDisposable {
  readonly status: readonly BridgeRow[];
  modules(): readonly ModuleRow[];
}

interface BridgeRow {
  readonly url: string;
  readonly state: string;
  readonly name?: string;
  readonly reason?: string;
  readonly sent: number;
  readonly received: number;
  readonly drops: Readonly<Record<string, number>>;
}

interface Attendance {
  readonly event: string;
  readonly name: string;
  readonly id: string;
}

interface ModuleRow {
  readonly name: string;
  readonly id: string;
  readonly pid?: number;
  readonly sinceMs: number;
  readonly hears: readonly {
    readonly pattern: string;
    readonly published: number;
    readonly dropped: number;
    readonly waiting: number;
  }[];
  readonly offers: readonly string[];
  /** Of a bridge: the id of the manager that has dialled. */
  readonly bridge?: string;
  /** Of a module that is connected to another manager: what that is called. */
  readonly manager?: string;
  /** And how many bridges lie between. */
  readonly hops?: number;
}

/** Where a manager says who is there: a callable. */
const MODULES = "bus/modules";
/** Where it says how its bridges are doing: a callable. */
const BRIDGES = "bus/bridges";
/** Where a manager says who comes and goes: a speaker. */
const ATTENDANCE = "bus/attendance";

/** What the bus's plugin gives; throws why it is not there. */
function busOf(bay: Bay): ManagerExtras {
  if (!bay.wires().some(({ name }) => name === "bus")) {
    throw new PatchbayError("unavailable", "the plugin of the bus was not found", {
      remedy: "put a folder with it into ./plugins, or name it in the configuration's plugins",
    });
  }
  return bay.transport({ name: "bus" } as Plugin) as ManagerExtras;
}

/**
 * Runs a manager until it is told to stop.
 *
 * @param context The surroundings.
 * @param options Where it listens, and what every command has.
 */
export async function bus(context: Context, options: BusCommandOptions): Promise<number> {
  const { screen } = context;
  const { host: hostname, port, unix: path, timeout: timeoutMs } = options;
  const token = options.token ?? (context.io.env("PATCHBAY_BUS_TOKEN") || undefined);
  const stop = context.interrupted;
  const listen = {
    ...(hostname === undefined ? {} : { hostname }),
    ...(port === undefined ? {} : { port }),
    ...(path === undefined ? {} : { path }),
  };
  const sameName = options.unique === true ? "refuse" : "number";
  await using bay = await context.openBay({
    module: "bus",
    config: { bus: { listen, sameName, ...(token === undefined ? {} : { token }) } },
  });
  const manager = busOf(bay);
  await using bridges = await manager.bridge(bay, {
    ...(options.bridge === undefined ? {} : { urls: options.bridge }),
    ...(options.hops === undefined ? {} : { hops: options.hops }),
    ...(options.name === undefined ? {} : { name: options.name }),
    onChange: (status) => tellBridge(context, status),
    onReport: (error) => screen.warn(error),
  });
  const modules = () => [...plain(manager.modules()), ...bridges.modules()];
  await bay.serve(MODULES, modules, { via: ["bus"], sharing: "shared" });
  await bay.serve(BRIDGES, () => bridges.status, { via: ["bus"], sharing: "shared" });
  const speaker = await bay.speaker(ATTENDANCE, { via: ["bus"] });
  const announce = async (attendance: Attendance) => {
    try {
      await speaker.shout(attendance);
    } catch (error) {
      // Who listens with "block" and does not keep up, say: the manager goes on.
      const { message, remedy } = PatchbayError.fromThrown(error);
      screen.warn({ message: `${ATTENDANCE} was not told: ${message}`, remedy });
    }
  };
  const end = manager.onAttendance((attendance) => {
    void announce(attendance);
    if (screen.json) return screen.value({ ...attendance, atMs: Date.now() });
    const { event, name } = attendance;
    const sign = event === "joined" ? screen.paint.green("+") : screen.paint.dim("-");
    screen.line(`${sign} ${name}`);
  });
  // A service manager waits for this line: it may start what needs the bus.
  if (screen.json) screen.value({ event: "ready", where: manager.where, pid: Deno.pid });
  else screen.line(`bus: ready at ${manager.where.join(" and ")}`);
  await until(stop, { timeoutMs });
  end();
  return EXIT.ok;
}

/** A bridge has come up, or is down. */
function tellBridge({ screen }: Context, status: BridgeRow): void {
  if (screen.json) return screen.value({ event: "bridge", ...status, atMs: Date.now() });
  const { url, state, name = url, reason } = status;
  const { paint } = screen;
  const colour = state === "up" ? paint.green : state === "standby" ? paint.dim : paint.red;
  screen.line(`${colour("=")} ${name} ${state}${reason === undefined ? "" : `: ${reason}`}`);
}

/** Portable: a field that is not there is left out. */
function plain(rows: readonly ModuleRow[]): ModuleRow[] {
  return rows.map(({ pid, ...row }) => pid === undefined ? row : { ...row, pid });
}

/**
 * Shows who is on a bus, again and again.
 *
 * @param context The surroundings.
 * @param options Which bus, how often.
 */
export async function busTop(context: Context, options: BusTopCommandOptions): Promise<number> {
  const { screen } = context;
  const { interval = 1000 } = options;
  const stop = context.interrupted;
  const settings = await busSettings(context, options);
  const { url } = settings;
  await using bay = await context.openBay({ module: "bus-top", config: { bus: settings } });
  busOf(bay);
  const modules = bay.callable<null, ModuleRow[]>(MODULES, { via: ["bus"] });
  const bridging = bay.callable<null, BridgeRow[]>(BRIDGES, { via: ["bus"] });
  const deadline = options.timeout === undefined ? Infinity : Date.now() + options.timeout;
  let before = new Map<string, { published: number; atMs: number }>();
  for (;;) {
    const rows = (await modules.call(null)).filter(({ id }) => id !== bay.identity.id);
    // A manager that a program runs by itself may have none.
    const bridges = await bridging.call(null).catch((): BridgeRow[] => []);
    const now = new Map<string, { published: number; atMs: number }>();
    const table = rows.map((row) => {
      const published = row.hears.reduce((sum, one) => sum + one.published, 0);
      const dropped = row.hears.reduce((sum, one) => sum + one.dropped, 0);
      const waiting = row.hears.reduce((sum, one) => sum + one.waiting, 0);
      now.set(row.id, { published, atMs: Date.now() });
      const last = before.get(row.id);
      const rateHz = last === undefined
        ? undefined
        : (published - last.published) * 1000 / Math.max(1, Date.now() - last.atMs);
      return { ...row, published, dropped, waiting, rateHz };
    });
    before = now;
    if (screen.json) screen.value({ url, atMs: Date.now(), modules: table, bridges });
    else {
      screen.clear();
      draw(context, url, table, bridges);
    }
    const left = deadline - Date.now();
    if (options.once === true || left <= 0) return EXIT.ok;
    if (await until(stop, { timeoutMs: Math.min(interval, left) }) === "stopped") return EXIT.ok;
  }
}

interface TopRow extends ModuleRow {
  readonly published: number;
  readonly dropped: number;
  readonly waiting: number;
  readonly rateHz: number | undefined;
}

function draw(
  { screen }: Context,
  url: string,
  rows: readonly TopRow[],
  bridges: readonly BridgeRow[],
): void {
  const { paint } = screen;
  screen.line(`${paint.bold(url)}  ${paint.dim(`${rows.length} modules`)}`);
  const short = (address: string) => address.replace(/^frame\//, "").toUpperCase();
  const frames = (addresses: readonly string[]) =>
    addresses.filter((each) => each.startsWith("frame/")).map(short).join(" ");
  for (const { url, state, name, reason, sent, received, drops } of bridges) {
    const lost = Object.values(drops).reduce((sum, n) => sum + n, 0);
    const parts = [
      `= ${name === undefined ? url : `${name} (${url})`}`,
      state === "up" ? paint.green(state) : paint.red(state),
      `${formatCount(sent)} there`,
      `${formatCount(received)} back`,
      lost > 0 ? paint.red(`${formatCount(lost)} dropped`) : "",
      reason ?? "",
    ];
    screen.line(parts.filter((part) => part !== "").join("  "));
  }
  const far = rows.some(({ manager }) => manager !== undefined);
  const head = ["MODULE", "PROCESS", "SINCE", "GETS", "WAIT", "DROPPED", "LISTENS", "SENDS"];
  screen.table([
    [head[0], ...far ? ["MANAGER"] : [], ...head.slice(1)].map(paint.dim),
    ...rows.map((row) => [
      paint.cyan(row.name),
      ...far ? [row.manager ?? ""] : [],
      row.pid === undefined ? "" : String(row.pid),
      formatAge(Date.now() - row.sinceMs),
      row.rateHz === undefined ? "" : formatRate(row.rateHz),
      row.waiting > 0 ? paint.yellow(formatCount(row.waiting)) : paint.dim("0"),
      row.dropped > 0 ? paint.red(formatCount(row.dropped)) : paint.dim("0"),
      frames(row.hears.map(({ pattern }) => pattern)),
      frames(row.offers),
    ]),
  ]);
}
