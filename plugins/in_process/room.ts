/**
 * The room in which bays of one process meet: who serves, speaks and listens, by address.
 *
 * @module
 */

import {
  type CallableEndpoint,
  type JobEndpoint,
  type ListenerEndpoint,
  type ListenerSource,
  type Offer,
  PatchbayError,
  type SpeakerEndpoint,
} from "@patchbay/core";

/** A listener in the room, and its source at each speaker it has joined. */
interface Seat {
  readonly endpoint: ListenerEndpoint;
  readonly sources: Map<Stand, ListenerSource>;
}

/** A speaker in the room, and the listeners that hear it. */
export class Stand {
  /** The speaker. */
  readonly endpoint: SpeakerEndpoint;
  /** Who hears it. Replaced, never changed: a shout may be going through the old list. */
  sources: readonly ListenerSource[] = [];

  /** @ignore Made by the room. */
  constructor(endpoint: SpeakerEndpoint) {
    this.endpoint = endpoint;
  }
}

/** The servers of one address. */
interface Desk<E> {
  readonly servers: E[];
  turn: number;
}

type Server = CallableEndpoint | JobEndpoint;

/**
 * Where bays of one process meet. Each bay has its own; give one to several bays and they reach
 * each other without bytes.
 *
 * @example
 * ```ts
 * import { Patchbay } from "@patchbay/core";
 * import inProcess, { Room } from "@patchbay/in_process";
 *
 * const config = { in_process: { room: new Room() } };
 * await using desk = await Patchbay.open({ module: "desk", plugins: [inProcess], config });
 * await using guest = await Patchbay.open({ module: "guest", plugins: [inProcess], config });
 * await desk.serve("desk/greet", (name) => `Hello ${name}`);
 * console.log(await guest.call("desk/greet", "Ada"));
 * ```
 */
export class Room {
  readonly #callables = new Map<string, Desk<CallableEndpoint>>();
  readonly #jobs = new Map<string, Desk<JobEndpoint>>();
  readonly #stands = new Set<Stand>();
  readonly #seats = new Set<Seat>();
  readonly #watchers = new Set<() => void>();
  readonly #onlookers = new Set<() => void>();
  /** Whose each server is. */
  readonly #owners = new WeakMap<Server, string>();

  /**
   * Calls back whenever a server came or went.
   *
   * @param changed What to call.
   * @returns Ends it.
   */
  watch(changed: () => void): () => void {
    this.#watchers.add(changed);
    return () => this.#watchers.delete(changed);
  }

  /**
   * Calls back whenever a server or speaker came or went.
   *
   * @param changed What to call.
   * @returns Ends it.
   */
  watchOffers(changed: () => void): () => void {
    this.#onlookers.add(changed);
    return () => this.#onlookers.delete(changed);
  }

  /** What is served, performed and spoken here. */
  get offers(): Offer[] {
    const offers: Offer[] = [];
    for (const stand of this.#stands) {
      const { address, retain, origin, bridged } = stand.endpoint;
      offers.push({ pattern: "speaker", address, shared: true, retain, by: origin, bridged });
    }
    const add = (pattern: "callable" | "job", desks: ReadonlyMap<string, Desk<Server>>) => {
      for (const [address, { servers }] of desks) {
        for (const server of servers) {
          const { shared, bridged } = server;
          const by = this.#owners.get(server) ?? "";
          offers.push({ pattern, address, shared, retain: false, by, bridged });
        }
      }
    };
    add("callable", this.#callables);
    add("job", this.#jobs);
    return offers;
  }

  /**
   * Adds a server of an address.
   *
   * @param endpoint The callable or job.
   * @param pattern Which of the two it is.
   * @param owner The id of its bay.
   * @returns Takes it out again.
   * @throws {PatchbayError} `unavailable` if the address is taken.
   */
  serve(endpoint: CallableEndpoint, pattern: "callable", owner?: string): () => void;
  /**
   * Adds a worker of an address.
   *
   * @param endpoint The job.
   * @param pattern Which of the two it is.
   * @param owner The id of its bay.
   * @returns Takes it out again.
   */
  serve(endpoint: JobEndpoint, pattern: "job", owner?: string): () => void;
  serve(endpoint: Server, pattern: "callable" | "job", owner = ""): () => void {
    this.#owners.set(endpoint, owner);
    const desks: Map<string, Desk<Server>> = pattern === "callable" ? this.#callables : this.#jobs;
    const { address, shared } = endpoint;
    let desk = desks.get(address);
    if (desk === undefined) desks.set(address, desk = { servers: [], turn: 0 });
    if (desk.servers.length > 0 && !(shared && desk.servers[0].shared)) {
      throw new PatchbayError("unavailable", `${address} is already served in this process`, {
        address,
        pattern,
        transport: "in_process",
        retryable: false,
        remedy: 'close the first server, or serve both with sharing: "shared"',
      });
    }
    desk.servers.push(endpoint);
    this.#changed();
    return () => {
      const index = desk.servers.indexOf(endpoint);
      if (index < 0) return;
      desk.servers.splice(index, 1);
      if (desk.servers.length === 0 && desks.get(address) === desk) desks.delete(address);
      this.#changed();
    };
  }

  /**
   * The server of an address whose turn it is; `undefined` if there is none.
   *
   * @param address The address.
   */
  callable(address: string): CallableEndpoint | undefined {
    return next(this.#callables.get(address));
  }

  /**
   * The only server of an address; `undefined` if there is none or if several share it.
   *
   * @param address The address.
   */
  onlyCallable(address: string): CallableEndpoint | undefined {
    const desk = this.#callables.get(address);
    return desk?.servers.length === 1 ? desk.servers[0] : undefined;
  }

  /**
   * The worker for an address whose turn it is; `undefined` if there is none.
   *
   * @param address The address.
   */
  job(address: string): JobEndpoint | undefined {
    return next(this.#jobs.get(address));
  }

  /**
   * Whether somebody serves an address.
   *
   * @param pattern Which map to look in.
   * @param address The address.
   */
  has(pattern: "callable" | "job" | "speaker", address: string): boolean {
    if (pattern === "callable") return this.#callables.has(address);
    if (pattern === "job") return this.#jobs.has(address);
    for (const stand of this.#stands) if (stand.endpoint.address === address) return true;
    return false;
  }

  /**
   * Adds a speaker; every matching listener hears it.
   *
   * @param endpoint The speaker.
   */
  enter(endpoint: SpeakerEndpoint): Stand {
    const stand = new Stand(endpoint);
    this.#stands.add(stand);
    for (const seat of this.#seats) this.#join(seat, stand);
    for (const onlooker of this.#onlookers) onlooker();
    return stand;
  }

  /**
   * Takes a speaker out.
   *
   * @param stand The speaker.
   */
  leave(stand: Stand): void {
    if (!this.#stands.delete(stand)) return;
    for (const seat of this.#seats) {
      seat.sources.get(stand)?.close();
      seat.sources.delete(stand);
    }
    stand.sources = [];
    for (const onlooker of this.#onlookers) onlooker();
  }

  /**
   * Adds a listener; it hears every matching speaker, and gets what they retain if it asks.
   *
   * @param endpoint The listener.
   * @returns Takes it out again.
   */
  listen(endpoint: ListenerEndpoint): () => void {
    const seat: Seat = { endpoint, sources: new Map() };
    this.#seats.add(seat);
    for (const stand of this.#stands) this.#join(seat, stand);
    return () => {
      if (!this.#seats.delete(seat)) return;
      for (const [stand, source] of seat.sources) {
        stand.sources = stand.sources.filter((one) => one !== source);
        source.close();
      }
    };
  }

  #join(seat: Seat, stand: Stand): void {
    if (!seat.endpoint.accepts(stand.endpoint.address)) return;
    const source = seat.endpoint.attach();
    seat.sources.set(stand, source);
    const last = stand.endpoint.last;
    if (seat.endpoint.retained && last !== undefined) {
      source.deliver(last.value, { ...last.context, retained: true });
    }
    stand.sources = [...stand.sources, source];
  }

  #changed(): void {
    for (const watcher of this.#watchers) watcher();
    for (const onlooker of this.#onlookers) onlooker();
  }
}

function next<E>(desk: Desk<E> | undefined): E | undefined {
  if (desk === undefined) return undefined;
  const { servers } = desk;
  if (servers.length === 1) return servers[0];
  desk.turn = (desk.turn + 1) % servers.length;
  return servers[desk.turn];
}
