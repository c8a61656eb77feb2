/**
 * Calls on their way in: the streams of the addresses that this bay serves are read by a consumer
 * group, so that servers share them; an answer goes to the stream that the entry names.
 *
 * @module
 */

import type { Buffer } from "node:buffer";
import {
  type CallableEndpoint,
  PatchbayError,
  type Registration,
  type TransportContext,
} from "@patchbay/core";
import { type Client, type Connections, inBytes } from "./connections.ts";
import { isAway } from "./errors.ts";
import { type Answers, InboundCall, ServedAddress } from "./inbound_call.ts";
import { moduleOf, type Names } from "./names.ts";
import {
  type Payloads,
  type Read,
  readFields,
  readHeaders,
  textField,
  textOf,
  valueFields,
} from "./payload.ts";
import { type Dependent, type Presence, readerOf, SERVERS_GROUP } from "./presence.ts";
import { ReadLoop } from "./read_loop.ts";
import type { Arg, Sender } from "./sender.ts";

/** How many calls are read at once. */
const BATCH = "256";
/** Replies to foreign programs, whose streams nobody renews, are kept for so long, in ms. */
const FOREIGN_REPLIES_MS = 60_000;
/** The most replies that wait for one caller. */
const MAX_REPLIES = "65536";
/** How many calls are remembered that were taken back before they came. */
const MAX_EARLY = 1024;
/** The most verdicts of `authorize` that are kept. */
const MAX_VERDICTS = 65_536;
/** A loop that reads some addresses. */
interface Reader {
  readonly loop: ReadLoop;
  readonly desks: Set<ServedAddress>;
  readonly wake: string;
}

/** Everything this bay serves. */
export class Servers implements Answers, Dependent {
  readonly #connections: Connections;
  readonly #context: TransportContext;
  readonly #names: Names;
  readonly #payloads: Payloads;
  readonly #presence: Presence;
  readonly #sender: Sender;
  readonly #desks = new Map<string, ServedAddress>();
  readonly #byKey = new Map<string, ServedAddress>();
  readonly #readers = new Map<string, Promise<Reader>>();
  /** What begins or ends at an address, the last of it. */
  readonly #turns = new Map<string, Promise<void>>();
  /** Calls that run, by caller and number. */
  readonly #running = new Map<string, InboundCall>();
  readonly #early = new Set<string>();
  readonly #verdicts = new Map<string, Promise<boolean>>();
  /** The other servers of the addresses that are shared. */
  readonly #partnersOf = new Map<ServedAddress, Set<string>>();
  /** Replies that could not be sent; they go when the connection is back. */
  #unsent: (() => void)[] = [];

  constructor(
    connections: Connections,
    context: TransportContext,
    names: Names,
    payloads: Payloads,
    presence: Presence,
    sender: Sender,
  ) {
    this.#connections = connections;
    this.#context = context;
    this.#names = names;
    this.#payloads = payloads;
    this.#presence = presence;
    this.#sender = sender;
    presence.depend(this);
  }

  /**
   * As {@link Transport.serve}.
   *
   * @param endpoint What is served.
   * @throws {PatchbayError} `unavailable`: somebody else serves the address.
   */
  async serve(endpoint: CallableEndpoint): Promise<Registration> {
    const desk = await this.#inTurn(endpoint.address, () => this.#enter(endpoint));
    let closing: Promise<void> | undefined;
    return {
      close: () => closing ??= this.#inTurn(desk.address, () => this.#leave(desk, endpoint)),
    };
  }

  /** What is begun at an address while something else begins or ends there waits for that. */
  #inTurn<T>(address: string, work: () => Promise<T>): Promise<T> {
    const mine = (this.#turns.get(address) ?? Promise.resolve()).then(work);
    const over: Promise<void> = mine.then(() => {}, () => {}).finally(() => {
      if (this.#turns.get(address) === over) this.#turns.delete(address);
    });
    this.#turns.set(address, over);
    return mine;
  }

  async #enter(endpoint: CallableEndpoint): Promise<ServedAddress> {
    const { address } = endpoint;
    let desk = this.#desks.get(address);
    if (desk === undefined) {
      desk = new ServedAddress(address, this.#names.calls(address));
      desk.shared = endpoint.shared;
      await this.#register(desk);
      desk.endpoints.push(endpoint);
      this.#desks.set(address, desk);
      this.#byKey.set(desk.key, desk);
      try {
        await this.#connections.subscriber.subscribe(this.#names.cancel(address));
        await this.#read(desk);
      } catch (error) {
        desk.endpoints.pop();
        await this.#unserve(desk).catch(() => {});
        throw this.#connections.explain(error, address);
      }
    } else desk.endpoints.push(endpoint);
    return desk;
  }

  /** What is served, for a server that has forgotten it. */
  async back(): Promise<void> {
    await Promise.all([...this.#desks.values()].map(async (desk) => {
      try {
        await this.#register(desk);
        const key = this.#names.cancelled(desk.address);
        for (const caller of await this.#connections.main.smembers(key)) {
          if (this.#running.has(caller)) this.cancelled(caller);
        }
      } catch (error) {
        // Somebody else has taken it meanwhile.
        if (!(error instanceof PatchbayError)) throw error;
        this.#context.report(error);
      }
    }));
  }

  /** Everything works again: what could not be sent is sent. */
  resume(): void {
    const unsent = this.#unsent;
    this.#unsent = [];
    for (const send of unsent) send();
  }

  /** A call was taken back. */
  cancelled(caller: string): void {
    const call = this.#running.get(caller);
    if (call !== undefined) return this.#giveUp(call);
    this.#early.add(caller);
    if (this.#early.size > MAX_EARLY) {
      this.#early.delete(this.#early.values().next().value as string);
    }
  }

  /** As {@link Dependent.dependsOn}: the callers, and those who share an address. */
  *dependsOn(): Iterable<string> {
    for (const { origin } of this.#running.values()) if (origin !== undefined) yield origin;
    for (const desk of this.#desks.values()) yield* desk.shared ? this.#partners(desk) : [];
  }

  /** As {@link Dependent.died}. */
  died(bay: string): void {
    for (const call of [...this.#running.values()]) if (call.origin === bay) this.#giveUp(call);
    for (const desk of this.#desks.values()) {
      if (this.#partnersOf.get(desk)?.delete(bay) === true) {
        void this.#inherit(desk, bay).catch((error) =>
          this.#context.report(this.#connections.explain(error, desk.address))
        );
      }
    }
  }

  /** Who serves an address has changed. */
  changed(address: string): void {
    const desk = this.#desks.get(address);
    if (desk?.shared === true) void this.#findPartners(desk).catch(() => {});
  }

  /** Stops reading. */
  async close(): Promise<void> {
    for (const reader of this.#readers.values()) {
      const { loop, wake } = await reader;
      await loop.stop();
      if (this.#connections.up) await this.#connections.main.del(wake).catch(() => {});
    }
    this.#readers.clear();
  }

  /** @ignore The handler has answered. */
  succeed(call: InboundCall, value: unknown): void {
    const { statistics, contract } = call.endpoint;
    try {
      const payload = this.#payloads.encode(value, contract.codec);
      statistics.bytesOut += payload.bytes;
      this.#answer(call, valueFields(payload));
    } catch (error) {
      const known = PatchbayError.fromThrown(error);
      statistics.countError(known.code);
      this.fail(call, known);
    }
  }

  /** @ignore It failed. */
  fail(call: InboundCall, error: PatchbayError): void {
    this.#answer(call, ["error", JSON.stringify(error.toWire())]);
  }

  #answer(call: InboundCall, fields: readonly Arg[]): void {
    call.settled = true;
    if (call.origin !== undefined) this.#running.delete(`${call.origin} ${call.id}`);
    this.#reply(call.desk, call.entry, call, fields);
  }

  #reply(
    desk: ServedAddress,
    entry: string,
    to: { readonly id: string; readonly reply?: string; readonly origin?: string },
    fields: readonly Arg[],
  ): void {
    const send = () => {
      let left = 2;
      const done = (error: unknown) => {
        left--;
        if (error !== undefined) return failed(error);
        if (left === 0) desk.open.delete(entry);
      };
      const failed = (error: unknown) => {
        if (this.#connections.closing || left < 0) return;
        left = -1;
        if (!this.#connections.up) return void this.#unsent.push(send);
        // The caller's stream may be no stream: the call is over all the same.
        this.#context.report(this.#connections.explain(error, desk.address));
        desk.open.delete(entry);
      };
      if (to.reply !== undefined) {
        left++;
        const args = to.origin === undefined ? [to.reply] : [to.reply, "NOMKSTREAM"];
        args.push("MAXLEN", "~", MAX_REPLIES, "*", "re", to.id);
        this.#sender.send("xadd", [...args, ...fields], done);
        if (to.origin === undefined) {
          void this.#connections.main.pexpire(to.reply, FOREIGN_REPLIES_MS).catch(() => {});
        }
      }
      this.#sender.send("xack", [desk.key, SERVERS_GROUP, entry], done);
      this.#sender.send("xdel", [desk.key, entry], done);
    };
    if (this.#connections.up) send();
    else this.#unsent.push(send);
  }

  #giveUp(call: InboundCall): void {
    if (call.settled) return;
    call.settled = true;
    this.#running.delete(`${call.origin} ${call.id}`);
    call.endpoint.abandon(call);
    call.abort();
    // Nobody wants the answer: only the entry is done with.
    this.#reply(call.desk, call.entry, { id: call.id }, []);
  }

  async #register(desk: ServedAddress): Promise<void> {
    const holder = await this.#presence.serve(desk.address, desk.shared);
    if (holder !== undefined) {
      throw new PatchbayError("unavailable", `${desk.address} is already served by ${holder}`, {
        address: desk.address,
        pattern: "callable",
        transport: this.#context.name,
        retryable: false,
        remedy: 'close the first server, or serve both with sharing: "shared"',
      });
    }
    if (desk.shared) await this.#findPartners(desk);
  }

  #partners(desk: ServedAddress): Iterable<string> {
    return this.#partnersOf.get(desk) ?? [];
  }

  async #findPartners(desk: ServedAddress): Promise<void> {
    const { living, gone } = await this.#presence.servers(desk.address);
    const bays = [...living].filter(([, note]) => !note.always).map(([bay]) => bay);
    const partners = new Set([...bays, ...gone]);
    partners.delete(this.#context.identity.id);
    for (const bay of this.#partnersOf.get(desk) ?? []) {
      // It has left, or somebody has taken it out because it is dead.
      if (!partners.has(bay)) void this.#gone(desk, bay);
    }
    this.#partnersOf.set(desk, partners);
    if (partners.size > 0) this.#presence.nudge();
  }

  async #gone(desk: ServedAddress, bay: string): Promise<void> {
    try {
      if (await this.#presence.isDead(bay)) await this.#inherit(desk, bay);
    } catch (error) {
      if (this.#connections.up) {
        this.#context.report(this.#connections.explain(error, desk.address));
      }
    }
  }

  async #read(desk: ServedAddress): Promise<void> {
    const name = readerOf(desk.address, this.#connections.clustered);
    let reader = this.#readers.get(name);
    if (reader !== undefined) {
      const { desks, wake, loop } = await reader;
      desks.add(desk);
      await this.#connections.main.xadd(wake, "MAXLEN", "=", 1, "*", "wake", "");
      loop.wake();
      return;
    }
    reader = this.#makeReader(name, desk);
    this.#readers.set(name, reader);
    reader.catch(() => this.#readers.delete(name));
    await reader;
  }

  async #makeReader(name: string, desk: ServedAddress): Promise<Reader> {
    const desks = new Set([desk]);
    const { id } = this.#context.identity;
    const wake = this.#names.wake(moduleOf(desk.address), id, `calls-${name}`);
    const group = ["GROUP", SERVERS_GROUP, id, "COUNT", BATCH, "BLOCK", "0", "STREAMS"];
    const make = async () => {
      await this.#connections.main.xgroup("CREATE", wake, SERVERS_GROUP, "$", "MKSTREAM")
        .catch((error) => {
          if (!String(error).includes("BUSYGROUP")) throw error;
        });
    };
    await make();
    const loop = new ReadLoop(this.#connections, {
      what: "reading calls",
      verb: "xreadgroup",
      command: () => {
        const keys = [...desks].filter((each) => each.endpoints.length > 0).map((each) => each.key);
        if (keys.length === 0) return undefined;
        keys.push(wake);
        return [...group, ...keys, ...keys.map(() => ">")];
      },
      take: (read) => this.#take(read, wake),
      recover: (client) => this.#recover(client, desks),
      refused: async () => {
        await make();
        for (const each of desks) if (each.endpoints.length > 0) await this.#register(each);
      },
      report: (error) => this.#context.report(error),
    });
    await loop.start();
    return { loop, desks, wake };
  }

  /** What was given to this bay, but lost on the way. */
  async #recover(client: Client, desks: Iterable<ServedAddress>): Promise<void> {
    const { id } = this.#context.identity;
    for (const desk of desks) {
      if (desk.endpoints.length === 0) continue;
      const read = await client.xreadgroupBuffer(
        "GROUP",
        SERVERS_GROUP,
        id,
        "STREAMS",
        desk.key,
        "0",
      ) as Read | null;
      if (read !== null) this.#take(read, "");
    }
  }

  #take(read: Read, wake: string): void {
    for (const [rawKey, entries] of read) {
      const key = rawKey.toString();
      const desk = this.#byKey.get(key);
      if (desk === undefined) {
        if (key === wake) {
          const ids = entries.map(([id]) => id.toString());
          this.#connections.main.xack(key, SERVERS_GROUP, ...ids).catch(() => {});
        }
        continue;
      }
      for (const [rawId, flat] of entries) {
        const id = textOf(rawId);
        if (desk.open.has(id)) continue;
        desk.open.add(id);
        if (flat === null) this.#reply(desk, id, { id: "" }, []); // The caller took it back.
        else this.#call(desk, id, flat);
      }
    }
  }

  #call(desk: ServedAddress, entry: string, flat: Parameters<typeof readFields>[0]): void {
    const fields = readFields(flat);
    const reply = textField(fields, "reply");
    const origin = reply === undefined ? undefined : this.#names.bayOfReplies(reply);
    const to = { id: textField(fields, "id") ?? entry, reply, origin };
    const refuse = (error: unknown) => {
      const known = PatchbayError.fromThrown(error);
      const { statistics } = desk.endpoints[0] ?? this.#context;
      statistics.countError(known.code);
      if (known.code === "protocol") statistics.countDrop("undecodable");
      this.#reply(desk, entry, to, ["error", JSON.stringify(known.toWire())]);
    };
    try {
      if (desk.endpoints.length === 0) {
        throw new PatchbayError("closed", `${desk.address}: the server is closing`, {
          details: { notExecuted: true },
        });
      }
      const caller = `${origin} ${to.id}`;
      if (origin !== undefined) {
        if (this.#early.delete(caller)) return this.#reply(desk, entry, { id: to.id }, []);
        // It was read once already, over a connection that broke.
        if (this.#running.has(caller)) return;
      }
      const value = fields.value;
      if (value === undefined) {
        throw new PatchbayError("protocol", `${desk.address}: the entry has no field \`value\``, {
          remedy: "XADD … * value '{\"json\":true}' reply my-replies",
        });
      }
      const timeout = Number(textField(fields, "timeout"));
      const call = new InboundCall(this, desk, entry, {
        ...to,
        headers: readHeaders(fields),
        peer: {
          module: textField(fields, "from") ?? "a foreign program",
          transport: this.#context.name,
          local: false,
        },
        timeoutMs: timeout > 0 ? timeout : Infinity,
      });
      const { endpoint } = call;
      endpoint.statistics.bytesIn += value.length;
      const decoded = this.#payloads.decode(value, textField(fields, "type"));
      if (origin !== undefined) {
        this.#running.set(caller, call);
        this.#presence.nudge();
      }
      if (this.#context.authorize === undefined) return endpoint.handle(decoded, call, call);
      void this.#authorized(call).then((may) => {
        if (call.settled) return;
        if (may) return endpoint.handle(decoded, call, call);
        endpoint.statistics.countError("forbidden");
        call.fail(
          new PatchbayError("forbidden", `${call.peer.module} may not call ${desk.address}`),
        );
      });
    } catch (error) {
      refuse(error);
    }
  }

  /** Asked once for each caller and address. One that throws refuses, and is asked again. */
  #authorized({ peer, origin, address }: InboundCall): Promise<boolean> {
    const key = `${origin ?? ""} ${peer.module} ${address}`;
    let verdict = this.#verdicts.get(key);
    if (verdict === undefined) {
      const authorize = this.#context.authorize;
      verdict = (async () => await authorize?.(peer, "call", address) === true)().catch(() => {
        this.#verdicts.delete(key);
        return false;
      });
      if (this.#verdicts.size >= MAX_VERDICTS) this.#verdicts.clear();
      this.#verdicts.set(key, verdict);
    }
    return verdict;
  }

  /** Another server of the address is dead: what it had taken is answered or, if that is harmless, done. */
  async #inherit(desk: ServedAddress, bay: string): Promise<void> {
    const { main } = this.#connections;
    await this.#presence.bury(desk.address, bay);
    for (;;) {
      const held = await main.xpending(desk.key, SERVERS_GROUP, "-", "+", 256, bay) as [string][];
      if (held.length === 0) break;
      const { id } = this.#context.identity;
      const claimed = await inBytes(main).xclaimBuffer(
        desk.key,
        SERVERS_GROUP,
        id,
        0,
        ...held.map(([entry]) => entry),
      ) as (readonly [Buffer, Buffer[]] | null)[];
      for (const each of claimed) {
        if (each === null) continue;
        const entry = each[0].toString();
        if (desk.open.has(entry)) continue;
        desk.open.add(entry);
        const fields = readFields(each[1]);
        if (textField(fields, "idempotent") === "1") {
          this.#call(desk, entry, each[1]);
          continue;
        }
        const reply = textField(fields, "reply");
        const to = {
          id: textField(fields, "id") ?? entry,
          reply,
          origin: reply === undefined ? undefined : this.#names.bayOfReplies(reply),
        };
        const error = new PatchbayError("closed", `${desk.address}: the server is gone`);
        this.#reply(desk, entry, to, ["error", JSON.stringify(error.toWire())]);
      }
    }
    await main.xgroup("DELCONSUMER", desk.key, SERVERS_GROUP, bay);
  }

  async #leave(desk: ServedAddress, endpoint: CallableEndpoint): Promise<void> {
    const index = desk.endpoints.indexOf(endpoint);
    if (index >= 0) desk.endpoints.splice(index, 1);
    if (desk.endpoints.length > 0) return;
    await this.#unserve(desk);
  }

  async #unserve(desk: ServedAddress): Promise<void> {
    this.#desks.delete(desk.address);
    this.#partnersOf.delete(desk);
    try {
      if (this.#connections.closing) return;
      const { subscriber } = this.#connections;
      const wakes: string[] = [];
      for (const reader of this.#readers.values()) {
        const { desks, wake } = await reader;
        if (desks.delete(desk)) wakes.push(wake);
      }
      const left = await this.#presence.unserve(desk.address) as Read;
      // What came too late is told so: it was not begun.
      this.#take(left, "");
      await subscriber.unsubscribe(this.#names.cancel(desk.address));
      for (const wake of wakes) {
        await this.#connections.main.xadd(wake, "MAXLEN", "=", 1, "*", "wake", "");
      }
    } catch (error) {
      // The connection is lost: the server is found dead, or taken out when the bay is back.
      if (!isAway(error) && !this.#connections.closing) {
        throw this.#connections.explain(error, desk.address);
      }
    } finally {
      this.#byKey.delete(desk.key);
    }
  }
}
