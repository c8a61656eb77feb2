/**
 * One direction of a bridge: what is offered on one wire, and is to be offered on the other.
 *
 * @module
 */

import { isPattern, matches } from "../address.ts";
import { isJobPart } from "../derived_job_messages.ts";
import { PatchbayError, type Pattern } from "../errors.ts";
import type { EventContext } from "../listener.ts";
import type { ListenerSource } from "../listener_source.ts";
import type { Offer } from "../offers.ts";
import { Carrier } from "./carrier.ts";
import { Ear } from "./ear.ts";
import type { Lane } from "./lane.ts";
import { type Verdict, verdicts, type Want, wantKey } from "./wants.ts";
import type { Wire } from "../choice.ts";

/** How one address in one direction is doing. */
export interface CarriedStatus {
  /** The pattern. */
  readonly pattern: Pattern;
  /** The address. */
  readonly address: string;
  /** `standby`: another bridge carries it; `refused`: see the reason. */
  readonly state: "carried" | "standby" | "refused" | "opening" | "withdrawn";
  /** Why it is refused. */
  readonly reason?: string;
}

/** What stands for whoever is on a wire that does not tell who is there. */
export function markOf(wire: Wire): string {
  return `${wire.plugin.name}-wire`;
}

/** One direction. */
export class Direction {
  /** What both wires and all addresses share. */
  readonly lane: Lane;
  readonly #carriers = new Map<string, Carrier>();
  readonly #ears: Ear[] = [];
  #verdicts: ReadonlyMap<string, Verdict> = new Map();
  /** Addresses that were heard from programs that say nothing of themselves, where a wire tells. */
  readonly #strangers = new Set<string>();
  #tooMany = false;
  /** Literal addresses that somebody serves on a wire that can only be asked. */
  #asked: Offer[] = [];
  #closed = false;
  /** Whether the other direction carries an address. */
  opposite: ((key: string) => boolean) | undefined;
  /** Asks for another look. */
  readonly #look: () => void;

  /**
   * @param lane The two wires.
   * @param look Asks the bridge to look again soon.
   */
  constructor(lane: Lane, look: () => void) {
    this.lane = lane;
    this.#look = look;
  }

  /** The patterns that both wires have. */
  get patterns(): readonly Pattern[] {
    const { from, to, settings } = this.lane;
    return settings.patterns.filter((one) =>
      from.plugin.capabilities[one] && to.plugin.capabilities[one]
    );
  }

  /** Whether something is refused or must be asked for, so that time alone may change it. */
  get restless(): boolean {
    if (this.#pollable.length > 0) return true;
    return [...this.#carriers.values()].some((one) => one.state === "refused");
  }

  /** How every address is doing. */
  get status(): CarriedStatus[] {
    const all: CarriedStatus[] = [];
    for (const [key, { outcome, want: { pattern, address } }] of this.#verdicts) {
      const carrier = this.#carriers.get(key);
      const { to } = this.lane;
      if (outcome === "standby") all.push({ pattern, address, state: "standby" });
      else if (outcome === "taken") {
        const reason = `${address} is served on ${to.plugin.name} by somebody else`;
        all.push({ pattern, address, state: "refused", reason });
      } else if (carrier === undefined) {
        const reason = this.#tooMany ? "maxAddresses are offered already" : "it is being closed";
        all.push({ pattern, address, state: "refused", reason });
      }
    }
    for (const { want: { pattern, address }, state, reason } of this.#carriers.values()) {
      if (state === "withdrawn") continue;
      all.push({ pattern, address, state, ...(reason ? { reason: reason.message } : {}) });
    }
    return all;
  }

  /** Whether it offers an address on the far wire. */
  carries(key: string): boolean {
    return this.#carriers.has(key);
  }

  /** Begins to listen; resolves when those who speak now have acknowledged. */
  async open(): Promise<void> {
    if (!this.patterns.includes("speaker")) return;
    for (const match of this.lane.settings.match) {
      const before = this.#ears.map((ear) => ear.pattern);
      this.#ears.push(
        new Ear(this.lane, match, (value, context, source) => {
          // Two patterns may both lead there.
          if (before.some((one) => matches(one, context.address))) return source.released();
          this.#hear(value, context, source);
        }),
      );
    }
    await Promise.all(this.#ears.map((ear) => ear.open()));
  }

  /** Asks the near wire for literal addresses, where it cannot be watched. */
  async ask(): Promise<void> {
    const { from } = this.lane;
    const found: Offer[] = [];
    for (const [pattern, address] of this.#pollable) {
      try {
        const finding = await from.transport.find(pattern, address);
        if (finding.found === false) continue;
      } catch {
        continue;
      }
      found.push({ pattern, address, shared: false, retain: false, by: markOf(from) });
    }
    this.#asked = found;
  }

  /**
   * Does what the offers on both wires ask for; resolves when it is done.
   *
   * @param near What is offered on the near wire; `undefined`: it does not tell.
   * @param far What is offered on the far wire; `undefined`: it does not tell.
   */
  async settle(
    near: readonly Offer[] | undefined,
    far: readonly Offer[] | undefined,
  ): Promise<void> {
    if (this.#closed) return;
    const { host, from, to, settings } = this.lane;
    const { patterns } = this;
    const mark = markOf(to);
    const wanted = (near ?? this.#asked).filter(({ pattern, address, by, bridged }) =>
      patterns.includes(pattern) && !host.own(to.plugin.name, pattern, address) &&
      // What came from there must not go back there, where nobody would tell.
      !(far === undefined && (bridged?.origins.includes(mark) || by === mark))
    );
    this.#verdicts = verdicts(wanted, far ?? [], host.identity.id, near !== undefined);
    const work: Promise<void>[] = [];
    for (const [key, carrier] of this.#carriers) {
      if (this.#verdicts.get(key)?.outcome === "carry") continue;
      // Of whom a wire does not tell, a speaker stays once it was heard.
      const untold = near === undefined || this.#strangers.has(key);
      if (untold && carrier.speaker !== undefined) continue;
      work.push(this.#withdraw(key, carrier));
    }
    if (this.#carriers.size < settings.maxAddresses) this.#tooMany = false;
    for (const [key, { outcome, want }] of this.#verdicts) {
      if (outcome !== "carry") continue;
      let carrier = this.#carriers.get(key);
      if (carrier === undefined) {
        if (this.#carriers.size >= settings.maxAddresses) {
          this.#full(from.plugin.name);
          continue;
        }
        carrier = this.#add(key, want);
      }
      work.push(carrier.set(want));
    }
    await Promise.all(work);
    this.#count();
  }

  /** Withdraws everything, and waits for what is in flight. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all(this.#ears.map((ear) => ear.close()));
    await Promise.all([...this.#carriers.values()].map((carrier) => carrier.close()));
    this.#carriers.clear();
    this.#strangers.clear();
    this.#verdicts = new Map();
    this.#count();
  }

  get #pollable(): [Pattern, string][] {
    const { from, settings } = this.lane;
    if (from.transport.watch !== undefined) return [];
    const literal = settings.match.filter((match) => !isPattern(match));
    const servers = this.patterns.filter((pattern) => pattern !== "speaker");
    return servers.flatMap((pattern) =>
      literal.map((address): [Pattern, string] => [pattern, address])
    );
  }

  #add(key: string, want: Want): Carrier {
    const carrier = new Carrier(this.lane, want, () => {
      this.#count();
      // Whoever has the address may go without a word.
      if (carrier.state === "refused") this.#look();
    });
    this.#carriers.set(key, carrier);
    return carrier;
  }

  async #withdraw(key: string, carrier: Carrier): Promise<void> {
    if (carrier.speaker !== undefined) {
      // A speaker cannot be spoken again once it was closed; what waits for it is let go.
      this.#carriers.delete(key);
      return await carrier.close();
    }
    await carrier.set(undefined);
    if (carrier.idle && this.#carriers.get(key) === carrier) this.#carriers.delete(key);
  }

  #hear(value: unknown, context: EventContext, source: ListenerSource): void {
    const { from, statistics, host, settings } = this.lane;
    const { address } = context;
    // The job is carried as a whole.
    if (from.plugin.traits.job === "derived" && isJobPart(address)) return source.released();
    const key = wantKey("speaker", address);
    let carrier = this.#carriers.get(key);
    if (carrier === undefined) {
      const verdict = this.#verdicts.get(key);
      if (verdict?.outcome === "carry") statistics.countDrop("too_many_addresses");
      // Another bridge carries it, or it is this bay's own.
      if (verdict !== undefined || context.origin === host.identity.id || this.#closed) {
        return source.released();
      }
      if (host.own(this.lane.to.plugin.name, "speaker", address)) return source.released();
      if (
        from.transport.watch === undefined && !from.plugin.traits.headers &&
        this.opposite?.(key) === true
      ) {
        statistics.countDrop("echo");
        return source.released();
      }
      if (this.#carriers.size >= settings.maxAddresses) {
        statistics.countDrop("too_many_addresses");
        this.#full(from.plugin.name);
        return source.released();
      }
      const watched = from.transport.watch !== undefined;
      const origin = watched && context.origin !== "" ? context.origin : markOf(from);
      const want: Want = {
        pattern: "speaker",
        address,
        shared: true,
        retain: context.retained,
        last: false,
        bridged: { path: [host.identity.id], origins: [origin] },
      };
      if (watched && context.origin === "") this.#strangers.add(key);
      carrier = this.#add(key, want);
      void carrier.set(want);
      // It was heard before it was seen: the next look knows whether it is still there.
      if (watched) this.#look();
    }
    carrier.speaker?.hear(value, context, source);
  }

  #full(wire: string): void {
    if (this.#tooMany) return;
    this.#tooMany = true;
    const { maxAddresses } = this.lane.settings;
    this.lane.host.report(
      new PatchbayError("overloaded", `bridge: over ${maxAddresses} addresses on ${wire}`, {
        transport: wire,
        details: { maxAddresses },
        remedy: "raise maxAddresses, or narrow match",
      }),
    );
  }

  #count(): void {
    let offers = 0;
    for (const { state } of this.#carriers.values()) if (state === "carried") offers++;
    this.lane.statistics.offers = offers;
  }
}
