/**
 * Who is on a bus: every module with what it hears and sends, its numbered name, its joins and
 * leaves, and the policy about those that do not keep up.
 *
 * @module
 */

import { type BayIdentity, type HubView, PatchbayError } from "@patchbay/core";

/** How often a manager looks for modules that do not keep up, in milliseconds. */
const LOOK_MS = 1000;

/** One frame type or address that a module listens to. */
export interface HearsView {
  /** The address or pattern: `frame/button_state`. */
  readonly pattern: string;
  /** How many messages there were for it. */
  readonly published: number;
  /** How many of them were dropped because it did not keep up. */
  readonly dropped: number;
  /** How many wait at the manager now. */
  readonly waiting: number;
}

/** One module, as its manager has it. */
export interface ModuleView {
  /** Its name; the second of that name is `led#2`. */
  readonly name: string;
  /** The id of its bay. */
  readonly id: string;
  /** Its process, if it has said so. */
  readonly pid: number | undefined;
  /** Since when it is connected, in epoch milliseconds. */
  readonly sinceMs: number;
  /** What it listens to. */
  readonly hears: readonly HearsView[];
  /** The addresses that it serves and speaks. */
  readonly offers: readonly string[];
}

/** A module has come or gone. */
export interface Attendance {
  /** What has happened. */
  readonly event: "joined" | "left";
  /** Its name; the second of that name is `led#2`. */
  readonly name: string;
  /** The id of its bay. */
  readonly id: string;
}

/** How a roster is kept. */
export interface RosterOptions {
  /** What happens to a module whose name another one has. */
  readonly sameName: "number" | "refuse";
  /** A module that has lost so many messages and read none is cut off; 0: never. */
  readonly cutOffAfterDrops: number;
  /** Told of a module that is cut off. */
  readonly report: (error: PatchbayError) => void;
}

/** Who is on a bus. */
export class Roster implements Disposable {
  /** Called with each coming and going. */
  readonly onAttendance: Set<(attendance: Attendance) => void> = new Set();
  readonly #options: RosterOptions;
  /** Names by bay id. */
  readonly #names = new Map<string, string>();
  /** By bay id: messages dropped and delivered when it was last looked at. */
  readonly #looks = new Map<string, { readonly dropped: number; readonly delivered: number }>();
  #hub: HubView | undefined;
  #timer: ReturnType<typeof setInterval> | undefined;

  /**
   * Makes a roster; {@link open} must follow.
   *
   * @param options The policies.
   */
  constructor(options: RosterOptions) {
    this.#options = options;
  }

  /** The hub listens. */
  open(hub: HubView): void {
    this.#hub = hub;
    if (this.#options.cutOffAfterDrops === 0) return;
    this.#timer = setInterval(() => this.#look(hub), LOOK_MS);
    Deno.unrefTimer(this.#timer);
  }

  /**
   * Lets a module in, unless its name is taken and names are not numbered.
   *
   * @throws `unavailable`: another module has the name.
   */
  admit(bay: BayIdentity): void {
    if (this.#options.sameName === "number" || this.#names.has(bay.id)) return;
    const holder = [...this.#names].find(([, name]) => name === bay.module);
    if (holder === undefined) return;
    throw new PatchbayError("unavailable", `a module ${bay.module} is on the bus already`, {
      retryable: false,
      details: { taken: true, holder: holder[0] },
      remedy: 'stop it, give this one another name, or set config.bus.sameName to "number"',
    });
  }

  /**
   * A module comes in.
   *
   * @throws `unavailable`, as {@link admit}.
   */
  join(bay: BayIdentity): void {
    this.admit(bay);
    const taken = new Set(this.#names.values());
    let name = bay.module;
    for (let n = 2; taken.has(name); n++) name = `${bay.module}#${n}`;
    this.#names.set(bay.id, name);
    this.#tell({ event: "joined", name, id: bay.id });
  }

  /** It has gone. */
  left(bay: BayIdentity): void {
    const name = this.#names.get(bay.id);
    this.#names.delete(bay.id);
    this.#looks.delete(bay.id);
    if (name !== undefined) this.#tell({ event: "left", name, id: bay.id });
  }

  /** Every module now. */
  modules(): ModuleView[] {
    return (this.#hub?.members() ?? []).map(({ bay, sinceMs, metadata, listens, offers }) => ({
      name: this.#names.get(bay.id) ?? bay.module,
      id: bay.id,
      pid: /^\d+$/.test(metadata.pid ?? "") ? Number(metadata.pid) : undefined,
      sinceMs,
      hears: listens,
      offers: [...new Set(offers.map(({ address }) => address))],
    }));
  }

  /** Looks no longer. */
  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.onAttendance.clear();
  }

  #tell(attendance: Attendance): void {
    for (const each of this.onAttendance) {
      try {
        each(attendance);
      } catch (error) {
        // Who is told must not cost the module its place, nor the others their word.
        this.#options.report(PatchbayError.fromThrown(error));
      }
    }
  }

  /** Cuts off who has lost many messages since the last look, and read none. */
  #look(hub: HubView): void {
    for (const { bay, listens } of hub.members()) {
      const dropped = listens.reduce((sum, one) => sum + one.dropped, 0);
      const delivered = listens.reduce(
        (sum, one) => sum + one.published - one.dropped - one.waiting,
        0,
      );
      const before = this.#looks.get(bay.id);
      if (before !== undefined && delivered === before.delivered) {
        const lost = dropped - before.dropped;
        if (lost >= this.#options.cutOffAfterDrops) {
          const name = this.#names.get(bay.id) ?? bay.module;
          const reason = `${name} has read nothing while ${lost} messages for it were dropped`;
          hub.expel(bay.id, reason);
          this.#options.report(new PatchbayError("overloaded", `${reason}: it is cut off`));
        }
        continue; // Counted from when it last read something.
      }
      this.#looks.set(bay.id, { dropped, delivered });
    }
  }
}
