/**
 * Calls on their way out: a message at the topic of the address, and the reply that comes back to
 * this bay.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import {
  type CallPort,
  contentTypeOf,
  type OutboundCall,
  PatchbayError,
  type TransportContext,
} from "@patchbay/core";
import type { Connection } from "./connection.ts";
import type { ResolvedConfig } from "./config.ts";
import { nativeTopic } from "./native.ts";
import type { Packet, Properties } from "./packets.ts";
import type { Payload, Payloads } from "./payload.ts";
import type { Presence } from "./presence.ts";
import { addHeaders, type Marks, type Topics } from "./topics.ts";

/** One call under way. */
class Pending {
  readonly call: OutboundCall;
  readonly id: string;
  readonly desk: Desk;
  /** The bay that has it; `undefined`: one of several, or a foreign program. */
  server: string | undefined = undefined;
  /** The number of the message, while the broker has not confirmed it. */
  messageId = 0;

  constructor(call: OutboundCall, id: string, desk: Desk) {
    this.call = call;
    this.id = id;
    this.desk = desk;
  }
}

/** The calls to one address. */
interface Desk {
  readonly address: string;
  readonly topic: string;
  readonly pending: Set<Pending>;
  /** Whether the broker has taken a call with QoS 1: it is allowed, and somebody listens. */
  proven: boolean;
  /** Whose turn it is, where the caller chooses. */
  turn: number;
}

/** Everything this bay calls. */
export class Callers {
  readonly #connection: Connection;
  readonly #config: ResolvedConfig;
  readonly #context: TransportContext;
  readonly #topics: Topics;
  readonly #payloads: Payloads;
  readonly #presence: Presence;
  readonly #desks = new Map<string, Desk>();
  readonly #pending = new Map<string, Pending>();
  /** Calls that wait for the connection. */
  readonly #waiting = new Set<Pending>();
  #last = 0;

  constructor(
    connection: Connection,
    config: ResolvedConfig,
    context: TransportContext,
    topics: Topics,
    payloads: Payloads,
    presence: Presence,
  ) {
    this.#connection = connection;
    this.#config = config;
    this.#context = context;
    this.#topics = topics;
    this.#payloads = payloads;
    this.#presence = presence;
  }

  /**
   * As {@link Transport.caller}.
   *
   * @param address The address.
   */
  port(address: string): CallPort {
    let desk = this.#desks.get(address);
    if (desk === undefined) {
      const topic = this.#topics.call(address);
      desk = { address, topic, pending: new Set(), proven: false, turn: 0 };
      this.#desks.set(address, desk);
    }
    const known = desk;
    return {
      start: (call) => this.#start(known, call),
      cancel: (call) => this.#cancel(call.slot as Pending | undefined),
      close: () => {},
    };
  }

  /** What serves an address has changed: whether it may be called is asked again. */
  changed(addresses: Iterable<string>): void {
    for (const address of addresses) {
      const desk = this.#desks.get(address);
      if (desk === undefined) continue;
      desk.proven = false;
      if (!this.#connection.up || this.#presence.servers(address).size === 0) continue;
      for (const each of desk.pending) if (this.#waiting.delete(each)) this.#send(each);
    }
  }

  /** A bay is gone. */
  died(bay: string, addresses: Iterable<string>): void {
    for (const address of addresses) {
      for (const each of [...this.#desks.get(address)?.pending ?? []]) {
        if (each.call.native?.mqtt !== undefined || this.#waiting.has(each)) continue;
        if (each.server === undefined || each.server === bay) this.#gone(each);
      }
    }
  }

  /** A bay serves an address no longer: what was on its way is asked for. */
  withdrew(bay: string, address: string): void {
    for (const { server, id } of this.#desks.get(address)?.pending ?? []) {
      if (server !== undefined && server !== bay) continue;
      const topic = `${this.#topics.to(bay)}asked/${this.#context.identity.id}/${id}`;
      this.#connection.outbox.publish(topic, "", { qos: 0 });
    }
  }

  /** The connection was lost. */
  lost(reason: PatchbayError): void {
    const wait = this.#config.whenLost === "wait";
    for (const desk of this.#desks.values()) desk.proven = false;
    for (const each of [...this.#pending.values()]) {
      if (this.#waiting.has(each)) continue;
      // Nobody knows whether it has arrived: only what does no harm twice is sent again.
      if (wait && each.call.idempotent) this.#waiting.add(each);
      else this.#end(each)?.call.fail(reason);
      this.#takeBack(each);
    }
  }

  /** Everything works again: what has waited is sent. */
  resume(): void {
    for (const each of [...this.#waiting]) {
      this.#waiting.delete(each);
      this.#send(each);
    }
  }

  /** Ends what is under way. */
  close(reason: PatchbayError): void {
    for (const each of [...this.#pending.values()]) this.#end(each)?.call.fail(reason);
  }

  /**
   * A reply in the form of MQTT 5 has come.
   *
   * @param payload The value, or the error.
   * @param packet What came with it.
   */
  replied(payload: Buffer, { properties }: Packet): void {
    const id = properties?.correlationData?.toString("latin1") ?? "";
    const error = properties?.userProperties?.["pb-error"];
    this.#reply(id, payload, properties?.contentType, error !== undefined);
  }

  /**
   * A message of the form of MQTT 3.1.1, or a note of our own, has come.
   *
   * @param what `reply`, `error` or `taken`.
   * @param rest The number, and what follows it.
   * @param payload The payload.
   */
  told(what: string, rest: readonly string[], payload: Buffer): void {
    const [id, more] = rest;
    if (what === "taken") {
      const pending = this.#pending.get(id);
      if (pending !== undefined) pending.server = more;
    } else {
      // `application/msgpack` would be two levels.
      this.#reply(id, payload, more?.replaceAll("%2F", "/"), what === "error");
    }
  }

  #start(desk: Desk, call: OutboundCall): void {
    const pending = new Pending(call, (++this.#last).toString(36), desk);
    const { up } = this.#connection;
    if (!up && this.#config.whenLost === "fail") {
      return call.fail(
        new PatchbayError(
          "unavailable",
          `${desk.address}: the broker at ${this.#connection.where} is not connected`,
          { remedy: 'it connects by itself; whenLost: "wait" waits for it' },
        ),
      );
    }
    call.slot = pending;
    this.#pending.set(pending.id, pending);
    desk.pending.add(pending);
    if (up) this.#send(pending);
    else this.#waiting.add(pending);
  }

  #send(pending: Pending): void {
    const { call, desk } = pending;
    try {
      const payload = this.#payloads.encode(call.value, call.codec);
      const native = nativeTopic(call.native);
      const marks: Marks = { "pb-call": this.#context.identity.module };
      const { remainingMs } = call;
      if (remainingMs !== Infinity) marks["pb-call"] += ` ${Math.ceil(remainingMs)}`;
      addHeaders(marks, call.headers);
      if (native === undefined && this.#presence.servers(desk.address).size === 0) {
        const wait = this.#config.whenLost === "wait" && this.#presence.mayReturn(desk.address);
        // The broker is back, the server not yet.
        return wait ? void this.#waiting.add(pending) : this.#nobody(pending);
      }
      const way = native === undefined
        ? this.#way(pending, payload, marks)
        : { topic: native.topic, properties: this.#properties(pending, payload, marks) };
      const { outbox } = this.#connection;
      const no = outbox.refusal(desk.address, way.topic, payload.data, way.properties);
      if (no !== undefined) throw no;
      call.statistics.bytesOut += payload.bytes;
      this.#publish(pending, way, payload, native?.qos);
    } catch (error) {
      this.#end(pending);
      call.fail(error);
    }
  }

  /** The topic, and what goes with it. */
  #way(
    pending: Pending,
    payload: Payload,
    marks: Marks,
  ): { topic: string; properties?: Properties } {
    const { desk } = pending;
    const servers = this.#presence.servers(desk.address);
    const { id } = this.#context.identity;
    let { topic } = desk;
    let five = this.#connection.version === 5;
    let each = false;
    for (const bay of servers) {
      const note = this.#presence.note(bay);
      if (note?.v === 4 && note.leaseMs !== undefined) five = false;
      if (note?.serves[desk.address] === "each") each = true;
    }
    [pending.server] = servers.size === 1 ? servers : [];
    if (each || (!five && servers.size > 1)) {
      const all = [...servers];
      const server = all[desk.turn++ % all.length];
      pending.server = server;
      topic = this.#topics.callOf(server, desk.address);
    }
    if (five) return { topic, properties: this.#properties(pending, payload, marks) };
    const type = contentTypeOf(payload);
    if (type !== undefined) marks["pb-type"] = type;
    return { topic: this.#topics.withTail(topic, id, pending.id, marks) };
  }

  #properties({ id }: Pending, payload: Payload, marks: Marks): Properties {
    const type = contentTypeOf(payload);
    const properties: Properties = {
      responseTopic: this.#topics.replies,
      correlationData: Buffer.from(id, "latin1"),
      userProperties: marks,
    };
    if (type !== undefined) properties.contentType = type;
    return properties;
  }

  #publish(
    pending: Pending,
    { topic, properties }: { topic: string; properties?: Properties },
    payload: Payload,
    qos: 0 | 1 | 2 | undefined,
  ): void {
    const { desk, call } = pending;
    const { outbox } = this.#connection;
    // A broker says nothing about QoS 0: with the first one it is asked whether it may be at all.
    const proves = !desk.proven || call.native?.mqtt !== undefined;
    if (!proves && (qos ?? 0) === 0) {
      return outbox.publish(topic, payload.data, { qos: 0, properties });
    }
    let messageId = 0;
    const done = (error?: unknown) => {
      // It was taken back, and perhaps sent again.
      if (pending.messageId !== messageId) return;
      pending.messageId = 0;
      if (error === undefined) desk.proven = true;
      else this.#end(pending)?.call.fail(this.#connection.explain(error, desk.address));
    };
    const nobody = () => this.#nobody(pending);
    outbox.publish(topic, payload.data, { qos: qos === 2 ? 2 : 1, properties }, done, nobody);
    messageId = pending.messageId = outbox.lastId;
  }

  #nobody(pending: Pending): void {
    const { desk } = pending;
    // One that was cut off comes back: jobs ask again.
    if (this.#presence.mayReturn(desk.address)) return this.#gone(pending);
    if (this.#end(pending) === undefined) return;
    // Whoever calls next looks anew.
    this.#context.routesChanged();
    pending.call.fail(
      new PatchbayError("not_found", `${desk.address}: nobody serves it at this broker`, {
        remedy: "start the module that serves it",
      }),
    );
  }

  #gone(pending: Pending): void {
    this.#end(pending)?.call.fail(
      new PatchbayError("closed", `${pending.desk.address}: the server is gone`, {
        transport: this.#context.name,
      }),
    );
  }

  #cancel(pending: Pending | undefined): void {
    if (pending === undefined) return;
    const waits = this.#waiting.has(pending);
    if (this.#end(pending) === undefined || waits || !this.#connection.up) return;
    this.#takeBack(pending);
    const { desk, id, server } = pending;
    const servers = server === undefined ? this.#presence.servers(desk.address) : [server];
    for (const bay of servers) {
      const topic = `${this.#topics.to(bay)}cancel/${this.#context.identity.id}/${id}`;
      this.#connection.outbox.publish(topic, "", { qos: 0 });
    }
  }

  /** What the broker has not confirmed would be sent again after a reconnection. */
  #takeBack(pending: Pending): void {
    const { messageId } = pending;
    pending.messageId = 0;
    if (messageId !== 0 && !this.#connection.up) this.#connection.outbox.forget(messageId);
  }

  #end(pending: Pending): Pending | undefined {
    if (!this.#pending.delete(pending.id)) return undefined;
    pending.desk.pending.delete(pending);
    this.#waiting.delete(pending);
    return pending;
  }

  #reply(id: string, payload: Buffer, type: string | undefined, failed: boolean): void {
    const pending = this.#pending.get(id);
    // Given up, or answered twice.
    if (pending === undefined) return void this.#context.statistics.countDrop("late_reply");
    const { call } = pending;
    this.#end(pending);
    try {
      if (failed) {
        return call.fail(PatchbayError.fromWire(readError(payload), { address: call.address }));
      }
      call.statistics.bytesIn += payload.length;
      call.succeed(this.#payloads.decode(payload, type));
    } catch (error) {
      call.fail(error);
    }
  }
}

/** An error: ours as JSON, or the words of a foreign program. */
function readError(payload: Buffer): ReturnType<PatchbayError["toWire"]> {
  const text = payload.toString();
  try {
    const error = JSON.parse(text);
    if (typeof error === "object" && error !== null && typeof error.code === "string") return error;
  } catch {
    // Plain words.
  }
  return { code: "remote", message: text };
}
