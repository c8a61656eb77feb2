/**
 * Who listens where, and who speaks: registered in Redis, so that a speaker knows how many hear it.
 *
 * @module
 */

import { matches, type TransportContext } from "@patchbay/core";
import type { Connections } from "./connections.ts";
import { isAway } from "./errors.ts";
import type { Names } from "./names.ts";
import type { Dependent, Presence } from "./presence.ts";

/** Listeners and speakers as one bay sees them. */
export class Listening implements Dependent {
  readonly #connections: Connections;
  readonly #context: TransportContext;
  readonly #names: Names;
  readonly #presence: Presence;
  /** What this bay listens to, by number. */
  readonly #mine = new Map<string, string>();
  /** At which addresses this bay speaks, and how often. */
  readonly #spoken = new Map<string, number>();
  /** What others listen to, by `bay:number`; known only while this bay speaks. */
  readonly #others = new Map<string, string>();
  #known = false;
  /** Under way: what is told meanwhile may be older or newer than the list, and comes after it. */
  #learning: Promise<void> | undefined;
  #toldMeanwhile: (readonly string[])[] = [];
  #last = 0;

  constructor(
    connections: Connections,
    context: TransportContext,
    names: Names,
    presence: Presence,
  ) {
    this.#connections = connections;
    this.#context = context;
    this.#names = names;
    this.#presence = presence;
    presence.depend(this);
  }

  /**
   * How many listeners of other bays there are for an address.
   *
   * @param address The address.
   */
  count(address: string): number {
    let count = 0;
    for (const pattern of this.#others.values()) if (matches(pattern, address)) count++;
    return count;
  }

  /**
   * Enters a listener.
   *
   * @param pattern What it listens to.
   * @returns Takes it out again.
   */
  async listen(pattern: string): Promise<() => Promise<void>> {
    const name = `${this.#context.identity.id}:${++this.#last}`;
    this.#mine.set(name, pattern);
    try {
      await this.#enter(name, pattern);
    } catch (error) {
      this.#mine.delete(name);
      throw error;
    }
    return async () => {
      this.#mine.delete(name);
      if (!this.#connections.up) return;
      try {
        await this.#connections.main.hdel(this.#names.listeners, name);
        await this.#presence.tell("unlisten", name);
      } catch (error) {
        if (!isAway(error)) throw this.#connections.explain(error, pattern);
      }
    };
  }

  /**
   * Enters a speaker; from now on {@link count} knows who listens.
   *
   * @param address Where it speaks.
   * @returns Takes it out again.
   */
  async speak(address: string): Promise<() => Promise<void>> {
    this.#spoken.set(address, (this.#spoken.get(address) ?? 0) + 1);
    /** Whether it was the last one. */
    const leave = () => {
      const left = (this.#spoken.get(address) ?? 1) - 1;
      if (left > 0) this.#spoken.set(address, left);
      else this.#spoken.delete(address);
      return left <= 0;
    };
    try {
      await this.#enterSpeaker(address);
      if (this.#learning !== undefined) await this.#learning;
      else if (!this.#known) await this.#learn();
    } catch (error) {
      leave();
      throw error;
    }
    this.#presence.nudge();
    let closed = false;
    return async () => {
      if (closed) return;
      closed = true;
      if (!leave() || !this.#connections.up) return;
      const { id } = this.#context.identity;
      try {
        await this.#connections.main.hdel(this.#names.speakers(address), id);
      } catch (error) {
        if (!isAway(error)) throw this.#connections.explain(error, address);
      }
    };
  }

  /** Whether anybody speaks at an address: somebody who is connected now. */
  async spoken(address: string): Promise<boolean> {
    const bays = await this.#connections.main.hkeys(this.#names.speakers(address));
    const living = await Promise.all(bays.map((bay) => this.#presence.isAlive(bay)));
    return living.includes(true);
  }

  /** The server may have forgotten all: it is told anew. */
  async back(): Promise<void> {
    for (const [name, pattern] of this.#mine) await this.#enter(name, pattern);
    for (const address of this.#spoken.keys()) await this.#enterSpeaker(address);
    if (this.#known) await this.#learn();
  }

  /** Another bay has told something. */
  told(words: readonly string[]): void {
    if (this.#learning !== undefined) return void this.#toldMeanwhile.push(words);
    if (!this.#known) return;
    const [what, name, pattern] = words;
    if (what === "listen" && !this.#mine.has(name)) this.#others.set(name, pattern);
    else if (what === "unlisten") this.#others.delete(name);
  }

  /** As {@link Dependent.dependsOn}. */
  *dependsOn(): Iterable<string> {
    if (this.#spoken.size === 0) return;
    const bays = new Set<string>();
    for (const name of this.#others.keys()) bays.add(name.slice(0, name.indexOf(":")));
    yield* bays;
  }

  /** As {@link Dependent.died}. */
  died(bay: string): void {
    for (const name of [...this.#others.keys()]) {
      if (!name.startsWith(`${bay}:`)) continue;
      this.#others.delete(name);
      void this.#connections.main.hdel(this.#names.listeners, name).catch(() => {});
    }
  }

  async #enter(name: string, pattern: string): Promise<void> {
    await this.#connections.main.hset(this.#names.listeners, name, pattern);
    await this.#presence.tell("listen", name, pattern);
  }

  async #enterSpeaker(address: string): Promise<void> {
    const { id, module } = this.#context.identity;
    await this.#connections.main.hset(this.#names.speakers(address), id, module);
    await this.#presence.tell("speak", address);
  }

  /** Reads the list of listeners; once at a time. */
  #learn(): Promise<void> {
    return this.#learning ??= this.#readAll().then(() => {
      this.#known = true;
    }).finally(() => {
      this.#learning = undefined;
      const told = this.#toldMeanwhile;
      this.#toldMeanwhile = [];
      for (const words of told) this.told(words);
    });
  }

  async #readAll(): Promise<void> {
    const all = await this.#connections.main.hgetall(this.#names.listeners);
    this.#others.clear();
    for (const [name, pattern] of Object.entries(all)) {
      if (!this.#mine.has(name)) this.#others.set(name, pattern);
    }
  }
}
