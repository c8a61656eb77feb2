/**
 * Who is there: bays that are alive, what they serve and where they listen, as it is registered in
 * Redis; and the watch over those on whom something depends.
 *
 * @module
 */

import { TimerEntry, type TransportContext } from "@patchbay/core";
import { type Connections, inBytes } from "./connections.ts";
import type { RedisConfig } from "./config.ts";
import { moduleOf, type Names } from "./names.ts";

/** What a server says of itself. */
export interface ServerNote {
  /** Its module. */
  readonly module: string;
  /** Whether others may serve the address, too. */
  readonly shared: boolean;
  /** Whether it is a foreign one, of which nobody can see whether it lives. */
  readonly always: boolean;
}

/** The group in which the servers of an address read its calls. */
export const SERVERS_GROUP = "servers";

/** The value by which a foreign server says that nobody is to see whether it lives. */
const ALWAYS = "always";

/** How often it is seen whether they live, in milliseconds. */
const POLL_MS = 200;
/** How many of the dead are remembered. */
const KEPT_DEAD = 4096;

/** Enters a server; answers with the others if they do not let it. */
const SERVE = `
for i = 5, #ARGV do redis.call('HDEL', KEYS[1], ARGV[i]) end
local others = redis.call('HGETALL', KEYS[1])
for i = 1, #others, 2 do
  local shared = string.find(others[i + 1], '"shared":true', 1, true)
  if others[i] ~= ARGV[1] and (ARGV[3] == '0' or not shared) then return others end
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.pcall('XGROUP', 'CREATE', KEYS[2], ARGV[4], '0', 'MKSTREAM')
return {}`;

/** Takes a server out; the last one takes the stream along, and gets what is left in it. */
const UNSERVE = `
redis.call('HDEL', KEYS[1], ARGV[1])
if redis.call('HLEN', KEYS[1]) > 0 then return {} end
local left = redis.pcall('XREADGROUP', 'GROUP', ARGV[2], ARGV[1], 'COUNT', 10000, 'STREAMS', KEYS[2], '>')
redis.call('DEL', KEYS[2])
if type(left) ~= 'table' or left.err then return {} end
return left`;

/** Whether a bay is registered, and how many connections hear its channel. */
const ALIVE = `
local heard = redis.call('PUBSUB', ARGV[1], KEYS[1])
return {redis.call('EXISTS', KEYS[1]), heard[2]}`;

/** Something that depends on bays which may die. */
export interface Dependent {
  /** On whom it depends now; empty: nothing is to be watched. */
  dependsOn(): Iterable<string>;
  /** A bay is dead. */
  died(bay: string): void;
}

/** Presence as one bay sees it. */
export class Presence extends TimerEntry {
  readonly #connections: Connections;
  readonly #config: RedisConfig;
  readonly #context: TransportContext;
  readonly #names: Names;
  readonly #dependents = new Set<Dependent>();
  /** Since when a bay has not been seen. */
  readonly #missing = new Map<string, number>();
  readonly #dead = new Set<string>();
  #polling = false;
  #again = false;

  constructor(
    connections: Connections,
    config: RedisConfig,
    context: TransportContext,
    names: Names,
  ) {
    super();
    this.#connections = connections;
    this.#config = config;
    this.#context = context;
    this.#names = names;
  }

  /** Says that this bay lives; called again before the lease ends. */
  async announce(): Promise<void> {
    const { id, module } = this.#context.identity;
    const { main } = this.#connections;
    await main.set(this.#names.alive(id), module, "PX", this.#config.leaseMs);
  }

  /** Takes this bay out. */
  async leave(): Promise<void> {
    await this.#connections.main.del(this.#names.alive(this.#context.identity.id));
  }

  /**
   * Tells every bay that something has changed.
   *
   * @param words What.
   */
  async tell(...words: string[]): Promise<void> {
    await this.#connections.main.publish(this.#names.presence, words.join(" "));
  }

  /**
   * Enters a server of an address.
   *
   * @param address The address.
   * @param shared Whether others may serve it, too.
   * @returns Who serves it already and does not let this one, if that is so.
   */
  async serve(address: string, shared: boolean): Promise<string | undefined> {
    const { id, module } = this.#context.identity;
    const keys = [this.#names.servers(address), this.#names.calls(address)];
    const note = JSON.stringify({ module, shared });
    const dead: string[] = [];
    for (let attempt = 1;; attempt++) {
      const others = await this.#connections.main.eval(
        SERVE,
        2,
        ...keys,
        id,
        note,
        shared ? "1" : "0",
        SERVERS_GROUP,
        ...dead,
      ) as string[];
      if (others.length === 0) {
        await this.tell("serve", address);
        return undefined;
      }
      dead.length = 0;
      for (let i = 0; i < others.length; i += 2) {
        if (others[i + 1] === ALWAYS || !await this.isDead(others[i])) {
          return readNote(others[i + 1]).module;
        }
        dead.push(others[i]);
      }
      if (attempt === 5) return readNote(others[1]).module;
    }
  }

  /**
   * Takes a server out.
   *
   * @param address The address.
   * @returns What the key's stream held unread, as `XREADGROUP` tells it.
   */
  async unserve(address: string): Promise<unknown> {
    const left = await inBytes(this.#connections.main).evalBuffer(
      UNSERVE,
      2,
      this.#names.servers(address),
      this.#names.calls(address),
      this.#context.identity.id,
      SERVERS_GROUP,
    );
    await this.tell("unserve", address);
    return left;
  }

  /**
   * Takes a dead server out.
   *
   * @param address The address.
   * @param bay The dead bay.
   */
  async bury(address: string, bay: string): Promise<void> {
    await this.#connections.main.eval(
      UNSERVE,
      2,
      this.#names.servers(address),
      this.#names.calls(address),
      bay,
      SERVERS_GROUP,
    );
    await this.tell("unserve", address);
  }

  /**
   * Who serves an address: bays with what they say, the living and those not seen just now.
   *
   * @param address The address.
   */
  async servers(address: string): Promise<{ living: Map<string, ServerNote>; gone: string[] }> {
    const all = await this.#connections.main.hgetall(this.#names.servers(address));
    const living = new Map<string, ServerNote>();
    const gone: string[] = [];
    await Promise.all(
      Object.entries(all).map(async ([bay, note]) => {
        if (note === ALWAYS || await this.isAlive(bay)) living.set(bay, readNote(note));
        else gone.push(bay);
      }),
    );
    return { living, gone };
  }

  /**
   * Whether a bay is connected now.
   *
   * @param bay Its id.
   */
  async isAlive(bay: string): Promise<boolean> {
    if (bay === this.#context.identity.id) return true;
    if (this.#dead.has(bay)) return false;
    const { clustered, main } = this.#connections;
    try {
      const [registered, heard] = await main.eval(
        ALIVE,
        1,
        this.#names.alive(bay),
        clustered ? "SHARDNUMSUB" : "NUMSUB",
      ) as [number, number];
      return registered === 1 && heard > 0;
    } catch (error) {
      // The one node that knows is down: nobody is declared dead for that.
      if (clustered && this.#connections.up) return true;
      throw error;
    }
  }

  /**
   * Whether a bay is dead: not connected now, and not during the time in which it could come back.
   *
   * @param bay Its id.
   */
  async isDead(bay: string): Promise<boolean> {
    if (this.#dead.has(bay)) return true;
    const untilMs = performance.now() + this.#config.deathMs;
    for (;;) {
      if (await this.isAlive(bay)) return false;
      if (performance.now() >= untilMs || this.#connections.closing) break;
      await new Promise((resolve) => setTimeout(resolve, Math.min(POLL_MS, this.#config.deathMs)));
    }
    this.#bury(bay);
    return true;
  }

  /** Watches over the bays on which something depends. */
  depend(dependent: Dependent): void {
    this.#dependents.add(dependent);
  }

  /** Watches no longer for somebody. */
  release(dependent: Dependent): void {
    this.#dependents.delete(dependent);
  }

  /** Something depends on somebody now: the watch goes on. */
  nudge(): void {
    if (this.#polling) this.#again = true;
    else if (this.wheelList === undefined) this.#context.timers.arm(this, POLL_MS);
  }

  /** The connection was lost: who was not seen meanwhile may have been there. */
  forget(): void {
    this.#missing.clear();
  }

  /** Ends the watch. */
  close(): void {
    this.#context.timers.disarm(this);
    this.#dependents.clear();
  }

  /** Time to look. */
  override expire(): void {
    this.#polling = true;
    void this.#look().catch(() => {
      // The connection was lost: its owner is told elsewhere.
    }).finally(() => {
      this.#polling = false;
      if (this.#again) {
        this.#again = false;
        this.nudge();
      }
    });
  }

  async #look(): Promise<void> {
    const bays = new Set<string>();
    for (const dependent of this.#dependents) {
      for (const bay of dependent.dependsOn()) bays.add(bay);
    }
    if (bays.size === 0) return void this.#missing.clear();
    this.#again = true;
    if (!this.#connections.up) return;
    const nowMs = performance.now();
    await Promise.all([...bays].map(async (bay) => {
      if (await this.isAlive(bay)) return void this.#missing.delete(bay);
      const sinceMs = this.#missing.get(bay);
      if (sinceMs === undefined) this.#missing.set(bay, nowMs);
      if (this.#dead.has(bay) || nowMs - (sinceMs ?? nowMs) >= this.#config.deathMs) {
        this.#bury(bay);
      }
    }));
  }

  #bury(bay: string): void {
    this.#missing.delete(bay);
    this.#dead.add(bay);
    if (this.#dead.size > KEPT_DEAD) this.#dead.delete(this.#dead.values().next().value as string);
    for (const dependent of this.#dependents) dependent.died(bay);
  }
}

function readNote(text: string): ServerNote {
  if (text === ALWAYS) return { module: "a foreign program", shared: true, always: true };
  try {
    const note = JSON.parse(text) as Partial<ServerNote>;
    return { module: String(note.module), shared: note.shared === true, always: false };
  } catch {
    return { module: "a foreign program", shared: false, always: false };
  }
}

/** @ignore Used by readers to group the streams that they may read together. */
export function readerOf(address: string, clustered: boolean): string {
  return clustered ? moduleOf(address) : "all";
}
