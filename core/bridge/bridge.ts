/**
 * A bridge between two wires of one bay. See decision 0007.
 *
 * @module
 */

import type { BridgeSnapshot } from "../statistics.ts";
import type { Offer, Watching } from "../offers.ts";
import { TimerEntry } from "../timer_wheel.ts";
import { type CarriedStatus, Direction } from "./direction.ts";
import { BridgeMemory, type Lane } from "./lane.ts";
import {
  type BridgeHost,
  type BridgeOptions,
  type BridgeSettings,
  bridgeWires,
  checkBridge,
  checkLoopSafe,
  type OpenWire,
} from "./options.ts";

/** How long to wait before looking again at what was refused, in milliseconds. */
const LOOK_MS = 1000;

/** One direction of a bridge at one moment. */
export interface BridgeDirectionStatus {
  /** What it has counted since the bay was opened. */
  readonly counts: BridgeSnapshot;
  /** Every address it carries, or cannot. */
  readonly addresses: readonly CarriedStatus[];
}

/** One wire of a bridge, and what is offered there. */
class Side {
  readonly wire: OpenWire;
  #watchings: Watching[] = [];

  constructor(wire: OpenWire) {
    this.wire = wire;
  }

  /** What is offered by others; `undefined` where the wire does not tell. */
  get offers(): readonly Offer[] | undefined {
    if (this.wire.transport.watch === undefined) return undefined;
    if (this.#watchings.length === 1) return this.#watchings[0].offers;
    const all = new Map<string, Offer>();
    for (const { offers } of this.#watchings) {
      for (const offer of offers) {
        all.set(`${offer.pattern} ${offer.address} ${offer.by}`, offer);
      }
    }
    return [...all.values()];
  }

  async watch(match: readonly string[], changed: () => void): Promise<void> {
    const { transport } = this.wire;
    for (const one of match) {
      const watching = await transport.watch?.(one, changed);
      if (watching !== undefined) this.#watchings.push(watching);
    }
  }

  close(): void {
    for (const watching of this.#watchings.splice(0)) watching.close();
  }
}

class Look extends TimerEntry {
  readonly #look: () => void;

  constructor(look: () => void) {
    super();
    this.#look = look;
  }

  override expire(): void {
    this.#look();
  }
}

/** A bridge between two wires, until it is closed. Made by `await bay.bridge({ from, to })`. */
export class Bridge implements AsyncDisposable {
  readonly #host: BridgeHost;
  readonly #settings: BridgeSettings;
  readonly #sides: readonly [Side, Side];
  readonly #there: Direction;
  readonly #back: Direction | undefined;
  readonly #onClose: () => void;
  readonly #signal: AbortSignal | undefined;
  readonly #timer: Look;
  #dirty = false;
  #settling: Promise<void> | undefined;
  #work: Promise<unknown> = Promise.resolve();
  #closing: Promise<void> | undefined;

  /** @ignore Made by the bay. */
  constructor(host: BridgeHost, options: BridgeOptions, onClose: () => void) {
    const settings = checkBridge(options);
    const [a, b] = bridgeWires(host.wires, options);
    checkLoopSafe(a, b, settings);
    this.#host = host;
    this.#settings = settings;
    this.#onClose = onClose;
    this.#signal = options.signal;
    this.#sides = [new Side(a), new Side(b)];
    this.#timer = new Look(() => void this.#look());
    const memory = new BridgeMemory();
    const soon = () => this.#host.timers.arm(this.#timer, LOOK_MS);
    const direction = (from: OpenWire, to: OpenWire): Direction => {
      const statistics = host.statistics.bridge(from.plugin.name, to.plugin.name);
      // Where the wire cannot hold a speaker back, what waits must be bounded here.
      const overflow = settings.overflow === "block" && !from.plugin.traits.backpressure
        ? "drop_oldest"
        : settings.overflow;
      const own = { ...settings, overflow };
      const lane: Lane = { host, from, to, settings: own, statistics, memory };
      return new Direction(lane, soon);
    };
    const there = this.#there = direction(a, b);
    if (settings.oneWay) return;
    const back = this.#back = direction(b, a);
    there.opposite = (key) => back.carries(key);
    back.opposite = (key) => there.carries(key);
  }

  /** One wire, by plugin name. */
  get from(): string {
    return this.#sides[0].wire.plugin.name;
  }

  /** The other wire, by plugin name. */
  get to(): string {
    return this.#sides[1].wire.plugin.name;
  }

  /** The patterns of addresses that are carried. */
  get match(): readonly string[] {
    return this.#settings.match;
  }

  /** How each direction is doing: from → to, then to → from unless it is one way. */
  get status(): readonly BridgeDirectionStatus[] {
    return this.#directions.map((direction) => ({
      counts: direction.lane.statistics.snapshot(),
      addresses: direction.status,
    }));
  }

  /**
   * Looks at both wires now; resolves when what is offered there is offered on the other, or cannot
   * be. Nobody needs it in operation: changes are noticed by themselves.
   */
  async refresh(): Promise<void> {
    // Whoever asks a wire has afterwards heard what it had to tell before.
    await Promise.all(this.#sides.map(async ({ wire: { transport } }) => {
      await transport.find("callable", "patchbay/bridge/refresh");
    }));
    await this.#look();
    await this.#work;
  }

  /** @ignore Begins; resolves when what is offered now on either side is offered on the other. */
  async open(): Promise<void> {
    this.#signal?.throwIfAborted();
    try {
      const changed = () => void this.#look();
      for (const side of this.#sides) await side.watch(this.#settings.match, changed);
      for (const direction of this.#directions) await direction.open();
      await this.#look();
      await this.#work;
    } catch (error) {
      await this.close();
      throw error;
    }
    this.#signal?.addEventListener("abort", this.#abort, { once: true });
    if (this.#signal?.aborted) await this.close();
  }

  /**
   * Withdraws what it offers, lets what is in flight finish (5 s at most), and ends it. Idempotent.
   */
  close(): Promise<void> {
    return this.#closing ??= (async () => {
      this.#signal?.removeEventListener("abort", this.#abort);
      this.#host.timers.disarm(this.#timer);
      for (const side of this.#sides) side.close();
      await this.#settling;
      await Promise.all(this.#directions.map((direction) => direction.close()));
      this.#onClose();
    })();
  }

  /** As {@link close}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  get #directions(): readonly Direction[] {
    return this.#back === undefined ? [this.#there] : [this.#there, this.#back];
  }

  readonly #abort = (): void => void this.close();

  /** Looks at both wires, and does what is to be done; what changes meanwhile is looked at after. */
  #look(): Promise<void> {
    this.#dirty = true;
    return this.#settling ??= this.#settle();
  }

  async #settle(): Promise<void> {
    await undefined; // What changes in one turn is looked at once.
    while (this.#dirty && this.#closing === undefined) {
      this.#dirty = false;
      const [a, b] = this.#sides;
      await this.#there.ask();
      await this.#back?.ask();
      if (this.#closing !== undefined) break;
      const [near, far] = [a.offers, b.offers];
      // Not awaited: a wire that takes its time must not hold up the news of the other addresses.
      this.#work = Promise.all([this.#there.settle(near, far), this.#back?.settle(far, near)]);
    }
    this.#settling = undefined;
    if (this.#closing !== undefined) return;
    if (this.#directions.some((direction) => direction.restless)) {
      this.#host.timers.arm(this.#timer, LOOK_MS);
    }
  }
}
