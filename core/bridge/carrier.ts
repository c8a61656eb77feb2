/**
 * One address in one direction of a bridge: offered on the far wire as long as it is wanted there.
 *
 * @module
 */

import { within } from "../all_or_none.ts";
import type { DirectoryEndpoint } from "../directory.ts";
import { PatchbayError } from "../errors.ts";
import type { Registration } from "../plugin.ts";
import { CarriedCallable } from "./carried_callable.ts";
import { CarriedJob } from "./carried_job.ts";
import { CarriedSpeaker } from "./carried_speaker.ts";
import type { Lane } from "./lane.ts";
import type { Want } from "./wants.ts";

/** How long calls and jobs in flight may take when the bridge closes, in milliseconds. */
const DRAIN_MS = 5000;

/** Where a carrier stands. */
export type CarrierState = "opening" | "carried" | "refused" | "withdrawn";

/** One address that is carried. */
export class Carrier {
  /** The speaker, if it is one. */
  readonly speaker: CarriedSpeaker | undefined;
  /** Where it stands. */
  state: CarrierState = "opening";
  /** Why it is refused. */
  reason: PatchbayError | undefined;
  /** What is offered, or was. */
  want: Want;
  readonly #lane: Lane;
  readonly #changed: () => void;
  #server: CarriedCallable | CarriedJob | undefined;
  #registration: Registration | undefined;
  #entry: DirectoryEndpoint | undefined;
  #wanted: Want | undefined;
  #offered: Want | undefined;
  #work: Promise<void> | undefined;
  #closed = false;

  /**
   * @param lane The direction.
   * @param want What it is.
   * @param changed Called when {@link state} has changed.
   */
  constructor(lane: Lane, want: Want, changed: () => void) {
    this.#lane = lane;
    this.#changed = changed;
    this.want = want;
    if (want.pattern === "speaker") this.speaker = new CarriedSpeaker(lane, want.address);
  }

  /** Whether it is withdrawn and nothing of it is in flight: it can be forgotten. */
  get idle(): boolean {
    return this.#wanted === undefined && this.#work === undefined &&
      (this.#server?.active ?? 0) === 0;
  }

  /**
   * Offers it, or withdraws it; resolves when that is done, or is not possible now.
   *
   * @param want What to offer; `undefined`: nothing.
   */
  set(want: Want | undefined): Promise<void> {
    this.#wanted = want;
    if (want !== undefined) this.want = want;
    return this.#work ??= this.#settle();
  }

  /** Withdraws it, waits for what is in flight (5 s at most), and gives up the rest. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.set(undefined);
    if (this.#server !== undefined) {
      await within(this.#server.drain(), DRAIN_MS);
      this.#server.giveUp();
    }
    await this.speaker?.close();
  }

  async #settle(): Promise<void> {
    await undefined; // The work has a name before it can be over.
    try {
      await this.#settleAll();
    } finally {
      this.#work = undefined;
      this.#changed();
    }
  }

  async #settleAll(): Promise<void> {
    // What is wanted may change while it is being done. A refusal ends it until the next look.
    while (!same(this.#wanted, this.#offered)) {
      const want = this.#wanted;
      try {
        if (this.#offered !== undefined && (want === undefined || this.speaker === undefined)) {
          await this.#withdraw();
        }
        this.#offered = undefined;
        if (want === undefined) this.state = "withdrawn";
        else {
          await this.#offer(want);
          this.state = "carried";
          this.reason = undefined;
        }
        this.#offered = want;
      } catch (error) {
        this.state = "refused";
        this.reason = PatchbayError.fromThrown(error);
        this.speaker?.refuse(this.reason);
        return;
      }
    }
    this.#tidy();
  }

  /** What is withdrawn is kept while calls or jobs of it run: their owners may come back for them. */
  #tidy(): void {
    if (this.#wanted !== undefined || this.#closed || (this.#server?.active ?? 0) > 0) return;
    this.#server?.giveUp();
    this.#server = undefined;
  }

  async #offer(want: Want): Promise<void> {
    const { speaker } = this;
    if (speaker !== undefined) return await speaker.speak(want);
    const lane = this.#lane;
    const { host, to } = lane;
    const { pattern, address, shared, bridged, last } = want;
    let server = this.#server;
    if (server !== undefined && server.shared !== shared) {
      const old = server;
      void within(old.drain(), DRAIN_MS).then(() => old.giveUp());
      server = undefined;
    }
    if (server === undefined) {
      server = pattern === "job"
        ? new CarriedJob(lane, address, shared, bridged)
        : new CarriedCallable(lane, address, shared, bridged);
    }
    this.#server = server;
    server.bridged = bridged;
    server.last = last;
    const registration = server instanceof CarriedJob
      ? await to.transport.perform?.(server)
      : await to.transport.serve?.(server);
    const role = "server";
    const wires = [to.plugin.name];
    const entry: DirectoryEndpoint = { pattern, role, address, wires, shared, bridged };
    try {
      await host.directory?.add(entry);
    } catch (error) {
      await registration?.close();
      throw error;
    }
    this.#registration = registration;
    this.#entry = entry;
  }

  async #withdraw(): Promise<void> {
    const { directory } = this.#lane.host;
    if (this.speaker !== undefined) {
      // A speaker has nothing in flight: the next one is made anew.
      return await this.speaker.close();
    }
    const [entry, registration] = [this.#entry, this.#registration];
    this.#entry = this.#registration = undefined;
    try {
      if (entry !== undefined) await directory?.remove(entry);
    } finally {
      await registration?.close();
    }
  }
}

function same(one: Want | undefined, other: Want | undefined): boolean {
  if (one === other) return true;
  if (one === undefined || other === undefined) return false;
  return one.shared === other.shared && one.retain === other.retain && one.last === other.last &&
    one.bridged.path.join() === other.bridged.path.join() &&
    one.bridged.origins.join() === other.bridged.origins.join();
}
