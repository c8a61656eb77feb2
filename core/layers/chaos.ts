/**
 * The chaos layer, for tests only: delays, loses and refuses what a bay sends, the same way every
 * time.
 *
 * @module
 */

import type { OutboundCall, ServerSchemas } from "../callable.ts";
import { PatchbayError, type Pattern } from "../errors.ts";
import type { OutboundJob } from "../job.ts";
import { type LayerContext, wrapTransport } from "../layer.ts";
import type { EventContext } from "../listener.ts";
import type { CallPort, JobPort, SpeakerPort, Transport } from "../plugin.ts";
import { TimerEntry } from "../timer_wheel.ts";
import { ForwardedCall, ForwardedJob } from "./forwarded.ts";

/** What {@link chaos} does to the messages of a bay. Shares are 0–1, by default 0. */
export interface ChaosOptions {
  /** Where chance begins: with the same seed, the same messages meet the same fate. */
  seed: number;
  /** How long each message is held back, in milliseconds, or from when to when. Default 0. */
  delayMs?: number | readonly [min: number, max: number];
  /** The share of messages that vanish: calls and jobs then run into their deadline. */
  drop?: number;
  /** The share of calls that are executed, and whose answer vanishes. */
  dropReply?: number;
  /** The share of calls and jobs that fail with `closed`; such a shout vanishes. */
  fail?: number;
  /** The share of messages that cut the wire, as {@link Chaos.sever} does. */
  sever?: number;
  /** How long such a cut lasts, in milliseconds. Default: until {@link Chaos.restore}. */
  severMs?: number;
}

/** A layer that makes trouble, and its switch. */
export interface Chaos {
  /** Wraps a transport. */
  (transport: Transport, context: LayerContext): Transport;
  /** Whether the wires are cut now. */
  readonly severed: boolean;
  /**
   * Cuts every wire that this layer wraps: what is in flight fails with `closed`, and so does what
   * is sent until {@link restore}; shouts vanish. Idempotent.
   */
  sever(): void;
  /** Mends the wires. What was lost stays lost. Idempotent. */
  restore(): void;
}

/**
 * A layer for tests: delays, drops, fails and severs what this bay sends (calls, goals, shouts), on
 * every wire it wraps. What peers send to this bay is left alone: give their bays one of their own.
 *
 * Guaranteed: the n-th message to an address over a wire meets the same fate with the same seed,
 * whatever goes to other addresses; and delayed messages to one address keep their order. What
 * vanishes is counted as a drop of the transport with the reason `chaos`.
 *
 * A job that is cut off is abandoned: its worker is told to stop, unlike on a real wire, where it
 * could be found again.
 *
 * Not for production: nothing protects the messages it loses.
 *
 * @param options The seed, and what is to happen how often.
 * @throws {PatchbayError} `invalid`: a share or delay out of its range.
 *
 * @example
 * ```ts
 * import { chaos, Patchbay, PatchbayError } from "@patchbay/core";
 * import inProcess from "@patchbay/in_process";
 *
 * const trouble = chaos({ seed: 7, delayMs: [1, 3] });
 * await using bay = await Patchbay.open({ plugins: [inProcess], layers: [trouble] });
 * await bay.serve("desk/greet", (name) => `Hello ${name}`);
 * console.log(await bay.call("desk/greet", "Ada"));
 * trouble.sever();
 * const error = await bay.call("desk/greet", "Bob").catch((error) => error);
 * if (!(error instanceof PatchbayError && error.code === "closed")) throw new Error("unexpected");
 * trouble.restore();
 * ```
 */
export function chaos(options: ChaosOptions): Chaos {
  const settings = check(options);
  const wires = new Set<ChaosWire>();
  let severed = false;
  const sever = () => {
    severed = true;
    for (const wire of wires) wire.cut();
  };
  const restore = () => void (severed = false);
  const layer = (transport: Transport, context: LayerContext): Transport => {
    const wire = new ChaosWire(settings, context, { sever, restore, isSevered: () => severed });
    wires.add(wire);
    return wrapTransport(transport, {
      caller: (address, next) => new ChaosCallPort(next(address), wire),
      executor: (address, next) => new ChaosJobPort(next(address), wire),
      speak: async (endpoint, next) => new ChaosSpeakerPort(await next(endpoint), wire),
      health: (next) => severed ? { status: "down", reason: "severed by the chaos layer" } : next(),
      close: (next) => {
        wires.delete(wire);
        wire.cut();
        return next();
      },
    });
  };
  Object.defineProperty(layer, "severed", { get: () => severed });
  return Object.assign(layer, { sever, restore }) as unknown as Chaos;
}

type Settings = Required<Omit<ChaosOptions, "delayMs">> & { delayMs: readonly [number, number] };

function check(options: ChaosOptions): Settings {
  const { seed, delayMs = 0, drop = 0, dropReply = 0, fail = 0, sever = 0 } = options;
  for (const [name, share] of Object.entries({ drop, dropReply, fail, sever })) {
    if (share >= 0 && share <= 1) continue;
    throw new PatchbayError("invalid", `chaos: ${name} ${share} is no share`, {
      remedy: "give a number from 0 (never) to 1 (always)",
    });
  }
  const range = typeof delayMs === "number" ? [delayMs, delayMs] as const : delayMs;
  if (!(range[0] >= 0 && range[1] >= range[0] && range[1] < Infinity)) {
    throw new PatchbayError("invalid", `chaos: delayMs ${delayMs} is no range`, {
      remedy: "give milliseconds, or [from, to]",
    });
  }
  const severMs = options.severMs ?? Infinity;
  return { seed, delayMs: range, drop, dropReply, fail, sever, severMs };
}

/** What is in store for one message. */
interface Fate {
  readonly dropped: boolean;
  readonly replyDropped: boolean;
  readonly failed: boolean;
  readonly delayMs: number;
}

/** Something in flight that a cut ends. */
interface InFlight {
  cut(): void;
}

interface Switch {
  sever(): void;
  restore(): void;
  isSevered(): boolean;
}

/** One transport under chaos. */
class ChaosWire {
  readonly context: LayerContext;
  readonly flying = new Set<InFlight>();
  readonly #settings: Settings;
  readonly #switch: Switch;
  readonly #lanes = new Map<string, Lane>();

  constructor(settings: Settings, context: LayerContext, own: Switch) {
    this.#settings = settings;
    this.context = context;
    this.#switch = own;
  }

  get severed(): boolean {
    return this.#switch.isSevered();
  }

  lane(pattern: Pattern, address: string): Lane {
    const key = `${this.#settings.seed} ${this.context.plugin.name} ${pattern} ${address}`;
    let lane = this.#lanes.get(key);
    if (lane === undefined) this.#lanes.set(key, lane = new Lane(key, this.context));
    return lane;
  }

  /** Draws a message's fate; always as often, so that one option does not shift the others. */
  fate(lane: Lane): Fate {
    const { drop, dropReply, fail, sever, severMs, delayMs: [min, max] } = this.#settings;
    const [a, b, c, d, e] = [lane.draw(), lane.draw(), lane.draw(), lane.draw(), lane.draw()];
    if (d < sever && !this.severed) {
      this.#switch.sever();
      if (severMs !== Infinity) {
        this.context.timers.arm(new Mending(this.#switch.restore), severMs);
      }
    }
    return {
      dropped: a < drop,
      replyDropped: b < dropReply,
      failed: c < fail || this.severed,
      delayMs: min + e * (max - min),
    };
  }

  countDrop(): void {
    this.context.statistics.countDrop("chaos");
  }

  refusal(address: string): PatchbayError {
    return new PatchbayError("closed", `${address}: severed by the chaos layer`, {
      address,
      transport: this.context.plugin.name,
    });
  }

  cut(): void {
    for (const one of [...this.flying]) one.cut();
    for (const lane of this.#lanes.values()) lane.discard();
  }
}

class Mending extends TimerEntry {
  readonly #restore: () => void;

  constructor(restore: () => void) {
    super();
    this.#restore = restore;
  }

  override expire(): void {
    this.#restore();
  }
}

interface Held {
  readonly dueMs: number;
  readonly go: () => void;
  readonly lost: () => void;
}

/** The messages to one address: their chance, and those that are held back, in order. */
class Lane extends TimerEntry {
  readonly #context: LayerContext;
  #held: Held[] = [];
  #state: number;

  constructor(key: string, context: LayerContext) {
    super();
    this.#context = context;
    // FNV-1a, 32 bits.
    let hash = 0x811c9dc5;
    for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193);
    this.#state = hash;
  }

  /** The next number of the stream, 0–1: mulberry32. */
  draw(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  /** Whether nothing is held back. */
  get idle(): boolean {
    return this.#held.length === 0;
  }

  /** Does something after a while, and not before what came earlier. */
  after(delayMs: number, go: () => void, lost: () => void): void {
    if (delayMs === 0 && this.idle) return go();
    const nowMs = performance.now();
    const dueMs = Math.max(nowMs + delayMs, this.#held.at(-1)?.dueMs ?? 0);
    this.#held.push({ dueMs, go, lost });
    if (this.#held.length === 1) this.#context.timers.arm(this, delayMs);
  }

  override expire(): void {
    for (let first = this.#held[0]; first !== undefined; first = this.#held[0]) {
      const leftMs = first.dueMs - performance.now();
      if (leftMs > 0) return this.#context.timers.arm(this, leftMs);
      this.#held.shift();
      first.go();
    }
  }

  /** Everything that is held back is lost. */
  override discard(): void {
    this.#context.timers.disarm(this);
    const held = this.#held;
    this.#held = [];
    for (const { lost } of held) lost();
  }
}

class ChaosCall extends ForwardedCall implements InFlight {
  readonly #port: CallPort;
  readonly #wire: ChaosWire;
  readonly #fate: Fate;
  #sent = false;
  #over = false;

  constructor(call: OutboundCall, port: CallPort, wire: ChaosWire, fate: Fate) {
    super(call);
    this.#port = port;
    this.#wire = wire;
    this.#fate = fate;
    wire.flying.add(this);
  }

  send(): void {
    if (this.#over) return;
    if (this.#fate.failed) return this.fail(this.#wire.refusal(this.address));
    if (this.#fate.dropped) return this.#wire.countDrop();
    this.#sent = true;
    this.#port.start(this);
  }

  override succeed(value: unknown): void {
    if (this.#fate.replyDropped) return this.#loseReply();
    if (this.#end()) super.succeed(value);
  }

  override fail(error: unknown): void {
    if (this.#sent && this.#fate.replyDropped) return this.#loseReply();
    this.#finish(error);
  }

  cut(): void {
    if (this.#sent) this.#port.cancel(this);
    this.#finish(this.#wire.refusal(this.address));
  }

  cancel(): void {
    const sent = this.#sent;
    if (this.#end() && sent) this.#port.cancel(this);
  }

  #loseReply(): void {
    this.#sent = false;
    this.#wire.countDrop();
  }

  #finish(error: unknown): void {
    if (this.#end()) super.fail(error);
  }

  #end(): boolean {
    this.#sent = false;
    this.#wire.flying.delete(this);
    if (this.#over) return false;
    return this.#over = true;
  }
}

class ChaosCallPort implements CallPort {
  readonly #port: CallPort;
  readonly #wire: ChaosWire;

  constructor(port: CallPort, wire: ChaosWire) {
    this.#port = port;
    this.#wire = wire;
  }

  get contract(): ServerSchemas | undefined {
    return this.#port.contract;
  }

  start(call: OutboundCall): void {
    const lane = this.#wire.lane("callable", call.address);
    const fate = this.#wire.fate(lane);
    const doomed = new ChaosCall(call, this.#port, this.#wire, fate);
    call.slot = doomed;
    lane.after(fate.delayMs, () => doomed.send(), () => doomed.cut());
  }

  cancel(call: OutboundCall): void {
    (call.slot as ChaosCall).cancel();
  }

  close(): void {
    this.#port.close();
  }
}

class ChaosJob extends ForwardedJob implements InFlight {
  readonly port: JobPort;
  readonly #wire: ChaosWire;
  readonly #fate: Fate;
  sent = false;
  over = false;

  constructor(job: OutboundJob, port: JobPort, wire: ChaosWire, fate: Fate) {
    super(job);
    this.port = port;
    this.#wire = wire;
    this.#fate = fate;
    wire.flying.add(this);
  }

  send(): void {
    if (this.over) return;
    if (this.#fate.failed) return this.fail(this.#wire.refusal(this.address));
    if (this.#fate.dropped) return this.#wire.countDrop();
    this.sent = true;
    this.port.start(this);
  }

  override succeed(value: unknown): void {
    if (this.end()) super.succeed(value);
  }

  override fail(error: unknown): void {
    if (this.end()) super.fail(error);
  }

  cut(): void {
    if (this.sent) this.port.abandon(this);
    this.fail(this.#wire.refusal(this.address));
  }

  end(): boolean {
    this.#wire.flying.delete(this);
    if (this.over) return false;
    return this.over = true;
  }
}

class ChaosJobPort implements JobPort {
  readonly #port: JobPort;
  readonly #wire: ChaosWire;

  constructor(port: JobPort, wire: ChaosWire) {
    this.#port = port;
    this.#wire = wire;
  }

  start(job: OutboundJob): void {
    const lane = this.#wire.lane("job", job.address);
    const fate = this.#wire.fate(lane);
    const doomed = new ChaosJob(job, this.#port, this.#wire, fate);
    job.slot = doomed;
    lane.after(fate.delayMs, () => doomed.send(), () => doomed.cut());
  }

  cancel(job: OutboundJob, reason: string | undefined): void {
    const doomed = job.slot as ChaosJob;
    if (doomed.sent && !doomed.over) this.#port.cancel(doomed, reason);
  }

  abandon(job: OutboundJob): void {
    const doomed = job.slot as ChaosJob;
    if (doomed.end() && doomed.sent) this.#port.abandon(doomed);
  }

  close(): void {
    this.#port.close();
  }
}

class ChaosSpeakerPort implements SpeakerPort {
  readonly #port: SpeakerPort;
  readonly #wire: ChaosWire;

  constructor(port: SpeakerPort, wire: ChaosWire) {
    this.#port = port;
    this.#wire = wire;
  }

  get listeners(): number {
    return this.#port.listeners;
  }

  shout(value: unknown, event: EventContext): void | Promise<void> {
    const wire = this.#wire;
    const lane = wire.lane("speaker", event.address);
    const fate = wire.fate(lane);
    if (fate.failed || fate.dropped) return wire.countDrop();
    if (fate.delayMs === 0 && lane.idle) return this.#port.shout(value, event);
    // Its speaker goes on meanwhile: nobody is there to catch what a late shout throws.
    const shoutLate = async () => await this.#port.shout(value, event);
    lane.after(fate.delayMs, () => {
      shoutLate().catch((error) =>
        wire.context.statistics.countError(PatchbayError.fromThrown(error).code)
      );
    }, () => wire.countDrop());
  }

  async ready(): Promise<void> {
    await this.#port.ready?.();
  }

  close(): Promise<void> {
    return this.#port.close();
  }
}
