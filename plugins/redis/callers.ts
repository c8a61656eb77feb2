/**
 * Calls on their way out: an entry in the stream of the address, and the reply that comes back in
 * the stream of this bay.
 *
 * @module
 */

import {
  type CallPort,
  type OutboundCall,
  PatchbayError,
  type TransportContext,
} from "@patchbay/core";
import type { Connections } from "./connections.ts";
import type { RedisConfig } from "./config.ts";
import { isLoss } from "./errors.ts";
import type { Names } from "./names.ts";
import { type Payloads, type Read, readFields, textField, textOf, valueFields } from "./payload.ts";
import type { Dependent, Presence } from "./presence.ts";
import { ReadLoop } from "./read_loop.ts";
import type { Sender } from "./sender.ts";

/** How many replies are read at once. */
const BATCH = "512";
/** After so many replies the stream is trimmed. */
const TRIM_EVERY = 256;
/** How many calls are remembered that are to be taken back when the connection is there again. */
const MAX_TO_TELL = 4096;
/** How long Redis remembers that a call was taken back, in milliseconds. */
const CANCELS_MS = 60_000;

/** One call under way. */
class Pending {
  readonly call: OutboundCall;
  readonly id: string;
  readonly desk: Desk;
  /** The entry's id, when Redis has told it. */
  entry: string | undefined = undefined;

  constructor(call: OutboundCall, id: string, desk: Desk) {
    this.call = call;
    this.id = id;
    this.desk = desk;
  }
}

/** The calls to one address. */
interface Desk {
  readonly address: string;
  readonly key: string;
  readonly pending: Map<string, Pending>;
  /** The bays that serve it; `undefined`: not looked up yet. */
  servers: readonly string[] | undefined;
  /** Whether a foreign program serves it, too, of which nobody can see whether it lives. */
  foreign: boolean;
}

/** Everything this bay calls. */
export class Callers implements Dependent {
  readonly #connections: Connections;
  readonly #config: RedisConfig;
  readonly #context: TransportContext;
  readonly #names: Names;
  readonly #payloads: Payloads;
  readonly #presence: Presence;
  readonly #sender: Sender;
  readonly #desks = new Map<string, Desk>();
  readonly #pending = new Map<string, Pending>();
  readonly #repliesKey: string;
  readonly #loop: ReadLoop;
  /** Calls that ended here while nobody could be told. */
  #toTell: Pending[] = [];
  /** Calls that wait for the connection. */
  readonly #waiting = new Set<Pending>();
  #last = 0;
  #lastReply = "0";
  #sinceTrim = 0;
  #starting: Promise<void> | undefined;
  #isReady = false;
  #queuedBytes = 0;

  constructor(
    connections: Connections,
    config: RedisConfig,
    context: TransportContext,
    names: Names,
    payloads: Payloads,
    presence: Presence,
    sender: Sender,
  ) {
    this.#connections = connections;
    this.#config = config;
    this.#context = context;
    this.#names = names;
    this.#payloads = payloads;
    this.#presence = presence;
    this.#sender = sender;
    this.#repliesKey = names.replies(context.identity.id);
    presence.depend(this);
    this.#loop = new ReadLoop(connections, {
      what: "reading replies",
      verb: "xread",
      command: () => ["COUNT", BATCH, "BLOCK", "0", "STREAMS", this.#repliesKey, this.#lastReply],
      take: (read) => this.#replies(read),
      recover: () => this.#makeReplies(),
      refused: () => Promise.resolve(),
      report: (error) => context.report(error),
    });
  }

  /** Keeps the stream of replies; called before the lease ends. */
  async renew(): Promise<void> {
    if (this.#starting === undefined) return;
    await this.#connections.main.pexpire(this.#repliesKey, this.#config.leaseMs);
  }

  /** What serves an address has changed. */
  changed(address: string): void {
    const desk = this.#desks.get(address);
    if (desk === undefined) return;
    desk.servers = undefined;
    if (desk.pending.size > 0) this.#lookUp(desk);
  }

  /**
   * As {@link Transport.caller}.
   *
   * @param address The address.
   */
  port(address: string): CallPort {
    let desk = this.#desks.get(address);
    if (desk === undefined) {
      desk = {
        address,
        key: this.#names.calls(address),
        pending: new Map(),
        servers: undefined,
        foreign: false,
      };
      this.#desks.set(address, desk);
    }
    const known = desk;
    return {
      start: (call) => this.#start(known, call),
      cancel: (call) => this.#cancel(call.slot as Pending | undefined),
      close: () => {},
    };
  }

  /** Makes ready for replies: once, before the first call. */
  ready(): Promise<void> {
    return this.#starting ??= this.#makeReplies().then(() => this.#loop.start()).then(() => {
      this.#isReady = true;
    }).catch((error) => {
      this.#starting = undefined;
      throw error;
    });
  }

  /** As {@link Dependent.dependsOn}. */
  *dependsOn(): Iterable<string> {
    for (const desk of this.#desks.values()) {
      if (desk.pending.size > 0) yield* desk.servers ?? [];
    }
  }

  /** As {@link Dependent.died}. */
  died(bay: string): void {
    for (const desk of this.#desks.values()) {
      if (desk.servers?.includes(bay) !== true) continue;
      desk.servers = desk.servers.filter((each) => each !== bay);
      void this.#presence.bury(desk.address, bay).catch(() => {});
      // What one of several has taken is answered by another one, which finds it in their group.
      if (desk.servers.length > 0 || desk.foreign) continue;
      this.#context.routesChanged();
      for (const each of [...desk.pending.values()]) {
        this.#end(each)?.call.fail(
          new PatchbayError("closed", `${desk.address}: the server is gone`, {
            transport: this.#context.name,
          }),
        );
      }
    }
  }

  /** The connection was lost. */
  lost(reason: PatchbayError): void {
    if (this.#config.whenLost === "wait") return;
    for (const each of [...this.#pending.values()]) {
      this.#remember(each);
      this.#end(each)?.call.fail(reason);
    }
  }

  /** The connection is back. */
  async back(): Promise<void> {
    if (this.#starting === undefined) return;
    await this.#makeReplies();
    const tell = this.#toTell;
    this.#toTell = [];
    await Promise.all(tell.map((each) => this.#tellCancel(each)));
  }

  /** Everything works again: what has waited is sent. */
  resume(): void {
    for (const each of [...this.#waiting]) {
      this.#waiting.delete(each);
      this.#send(each);
    }
  }

  /** Ends what is under way. */
  async close(reason: PatchbayError): Promise<void> {
    for (const each of [...this.#pending.values()]) this.#end(each)?.call.fail(reason);
    await this.#loop.stop();
    if (this.#starting !== undefined && this.#connections.up) {
      await this.#connections.main.del(this.#repliesKey).catch(() => {});
    }
  }

  async #makeReplies(): Promise<void> {
    const { main } = this.#connections;
    // An empty stream: servers add only to one that is there. What waits in it is kept.
    if (await main.exists(this.#repliesKey) === 0) {
      const id = await main.xadd(this.#repliesKey, "MAXLEN", "=", 0, "*", "hello", "");
      this.#lastReply = id as string;
    }
    await main.pexpire(this.#repliesKey, this.#config.leaseMs);
  }

  #start(desk: Desk, call: OutboundCall): void {
    const pending = new Pending(call, (++this.#last).toString(36), desk);
    if (!this.#connections.up) {
      if (this.#config.whenLost === "fail") {
        return call.fail(
          new PatchbayError(
            "unavailable",
            `${desk.address}: Redis at ${this.#connections.where} is not connected`,
            { remedy: 'it connects by itself; whenLost: "wait" waits for it' },
          ),
        );
      }
      this.#waiting.add(pending);
    }
    call.slot = pending;
    this.#pending.set(pending.id, pending);
    desk.pending.set(pending.id, pending);
    if (!this.#connections.up) return;
    if (this.#isReady) this.#send(pending);
    else {
      this.ready().then(
        () => this.#pending.has(pending.id) && this.#send(pending),
        (error) => this.#end(pending)?.call.fail(this.#connections.explain(error, desk.address)),
      );
    }
  }

  /** Learns on whom the calls depend. */
  #lookUp(desk: Desk): void {
    desk.servers = [];
    this.#presence.servers(desk.address).then(({ living, gone }) => {
      const bays = [...living].filter(([, note]) => !note.always).map(([bay]) => bay);
      desk.foreign = bays.length < living.size;
      desk.servers = [...bays, ...gone];
      this.#presence.nudge();
    }).catch(() => desk.servers = undefined);
  }

  #send(pending: Pending): void {
    const { call, desk, id } = pending;
    const statistics = call.statistics;
    let payload;
    let bytes = 0;
    try {
      payload = this.#payloads.encode(call.value, call.codec);
      bytes = payload.bytes;
      if (this.#queuedBytes + bytes > this.#config.maxQueueBytes && this.#queuedBytes > 0) {
        throw new PatchbayError("overloaded", `${desk.address}: too much waits to be sent`, {
          details: { maxQueueBytes: this.#config.maxQueueBytes },
        });
      }
    } catch (error) {
      this.#end(pending);
      return call.fail(error);
    }
    statistics.bytesOut += bytes;
    this.#queuedBytes += bytes;
    const { module } = this.#context.identity;
    const args = [desk.key, "NOMKSTREAM", "*", ...valueFields(payload)];
    args.push("id", id, "reply", this.#repliesKey, "from", module);
    const { remainingMs } = call;
    if (remainingMs !== Infinity) args.push("timeout", String(Math.ceil(remainingMs)));
    if (call.headers !== undefined) args.push("headers", JSON.stringify(call.headers));
    if (call.idempotent) args.push("idempotent", "1");
    this.#sender.send("xadd", args, (error, entry) => {
      this.#queuedBytes -= bytes;
      if (error === undefined) {
        if (entry === null) return this.#nobody(pending);
        pending.entry = entry as string;
        return;
      }
      if (!this.#pending.has(id)) return;
      if (this.#config.whenLost === "wait" && isLoss(error)) {
        // Nobody knows whether it has arrived: only what does no harm twice is sent again.
        if (call.idempotent) this.#waiting.add(pending);
        return;
      }
      this.#end(pending)?.call.fail(this.#connections.explain(error, desk.address));
    });
    if (desk.servers === undefined) this.#lookUp(desk);
    else this.#presence.nudge();
  }

  #nobody(pending: Pending): void {
    const { desk } = pending;
    if (this.#end(pending) === undefined) return;
    // Whoever calls next looks anew.
    this.#context.routesChanged();
    pending.call.fail(
      new PatchbayError("not_found", `${desk.address}: nobody serves it on this Redis`, {
        remedy: "start the module that serves it",
      }),
    );
  }

  #cancel(pending: Pending | undefined): void {
    if (pending === undefined || this.#end(pending) === undefined) return;
    if (this.#connections.up) void this.#tellCancel(pending).catch(() => {});
    else this.#remember(pending);
  }

  #remember(pending: Pending): void {
    if (this.#waiting.has(pending)) return;
    if (this.#toTell.length < MAX_TO_TELL) this.#toTell.push(pending);
  }

  async #tellCancel({ desk, id, entry }: Pending): Promise<void> {
    const { main } = this.#connections;
    const { address } = desk;
    const caller = `${this.#context.identity.id} ${id}`;
    const kept = this.#names.cancelled(address);
    await Promise.all([
      entry === undefined ? undefined : main.xdel(desk.key, entry),
      // A server that is not connected just now finds it there.
      main.sadd(kept, caller),
      main.pexpire(kept, CANCELS_MS),
      main.publish(this.#names.cancel(address), caller),
    ]);
  }

  #end(pending: Pending): Pending | undefined {
    if (!this.#pending.delete(pending.id)) return undefined;
    pending.desk.pending.delete(pending.id);
    this.#waiting.delete(pending);
    return pending;
  }

  #replies(read: Read): void {
    for (const [, entries] of read) {
      for (const [id, flat] of entries) {
        this.#lastReply = textOf(id);
        this.#sinceTrim++;
        if (flat !== null) this.#reply(flat);
      }
    }
    if (this.#sinceTrim < TRIM_EVERY) return;
    this.#sinceTrim = 0;
    this.#connections.main.xtrim(this.#repliesKey, "MINID", this.#lastReply).catch(() => {});
  }

  #reply(flat: Parameters<typeof readFields>[0]): void {
    const fields = readFields(flat);
    const pending = this.#pending.get(textField(fields, "re") ?? "");
    // Given up, or answered twice.
    if (pending === undefined) return void this.#context.statistics.countDrop("late_reply");
    const { call } = pending;
    this.#end(pending);
    try {
      const error = textField(fields, "error");
      if (error !== undefined) {
        return call.fail(PatchbayError.fromWire(readError(error), { address: call.address }));
      }
      const value = fields.value;
      if (value === undefined) {
        throw new PatchbayError("protocol", "the reply has neither `value` nor `error`");
      }
      call.statistics.bytesIn += value.length;
      call.succeed(this.#payloads.decode(value, textField(fields, "type")));
    } catch (error) {
      call.fail(error);
    }
  }
}

/** An error of a reply: ours as JSON, or the words of a foreign program. */
function readError(text: string): ReturnType<PatchbayError["toWire"]> {
  try {
    const error = JSON.parse(text);
    if (typeof error === "object" && error !== null && typeof error.code === "string") return error;
  } catch {
    // Plain words.
  }
  return { code: "remote", message: text };
}
