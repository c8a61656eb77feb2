/**
 * Calls on their way in: messages at the topics of the addresses that this bay serves; answers go
 * where the message says.
 *
 * @module
 */

import type { Buffer } from "node:buffer";
import {
  type CallableEndpoint,
  contentTypeOf,
  PatchbayError,
  type Registration,
  type TransportContext,
} from "@patchbay/core";
import type { Connection } from "./connection.ts";
import {
  type Answers,
  InboundCall,
  type Return,
  ServedAddress,
  type Told,
} from "./inbound_call.ts";
import { nativeTopic } from "./native.ts";
import type { Packet, Properties } from "./packets.ts";
import type { Payloads } from "./payload.ts";
import type { Presence } from "./presence.ts";
import type { Subscriptions } from "./subscriptions.ts";
import { headersOf, type Topics } from "./topics.ts";

/** The group in which the servers of an address share its calls. */
const GROUP = "patchbay-servers";
/** How many calls are remembered that were taken back before they came. */
const MAX_EARLY = 1024;
/** The most calls that wait while an address is claimed. */
const MAX_HELD = 4096;
/** The most verdicts of `authorize` that are kept. */
const MAX_VERDICTS = 65_536;

/** Everything this bay serves. */
export class Servers implements Answers {
  readonly #connection: Connection;
  readonly #context: TransportContext;
  readonly #topics: Topics;
  readonly #payloads: Payloads;
  readonly #presence: Presence;
  readonly #subscriptions: Subscriptions;
  readonly #desks = new Map<string, ServedAddress>();
  /** Calls that run, by caller and number. */
  readonly #running = new Map<string, InboundCall>();
  readonly #early = new Set<string>();
  /** Addresses that are being given up. */
  readonly #leaving = new Map<string, Promise<void>>();
  readonly #verdicts = new Map<string, Promise<boolean>>();

  constructor(
    connection: Connection,
    context: TransportContext,
    topics: Topics,
    payloads: Payloads,
    presence: Presence,
    subscriptions: Subscriptions,
  ) {
    this.#connection = connection;
    this.#context = context;
    this.#topics = topics;
    this.#payloads = payloads;
    this.#presence = presence;
    this.#subscriptions = subscriptions;
  }

  /**
   * As {@link Transport.serve}.
   *
   * @param endpoint What is served.
   * @throws {PatchbayError} `unavailable`: somebody else serves the address.
   */
  async serve(endpoint: CallableEndpoint): Promise<Registration> {
    const { address } = endpoint;
    await this.#leaving.get(address);
    let desk = this.#desks.get(address);
    if (desk === undefined) {
      desk = this.#makeDesk(endpoint);
      this.#desks.set(address, desk);
      desk.ready = this.#open(desk, endpoint);
    }
    desk.endpoints.push(endpoint);
    const served = desk;
    let closing: Promise<void> | undefined;
    const close = () => closing ??= this.#leave(served, endpoint);
    try {
      await desk.ready;
    } catch (error) {
      desk.endpoints.splice(desk.endpoints.indexOf(endpoint), 1);
      throw error;
    }
    return { close };
  }

  /** It is known again who is there: what somebody else has taken meanwhile is given up. */
  async compare(): Promise<void> {
    for (const desk of [...this.#desks.values()]) {
      const holder = this.#presence.lostClaim(desk.address);
      if (holder === undefined) continue;
      this.#context.report(this.#refusal(desk.address, holder));
      this.#desks.delete(desk.address);
      await this.#unsubscribe(desk);
      await this.#presence.withdraw(desk.address);
    }
  }

  /**
   * A message at the topic of a call has come.
   *
   * @param topic The topic.
   * @param begin What stands before the address.
   * @param payload The value.
   * @param packet What came with it.
   */
  called(topic: string, begin: string, payload: Buffer, packet: Packet): void {
    const plain = topic.slice(begin.length);
    let desk = this.#desks.get(plain);
    let told: Told;
    let type = packet.properties?.contentType;
    if (desk === undefined) {
      const { address, tail } = this.#topics.read(topic, begin);
      desk = this.#desks.get(address);
      if (tail === undefined) {
        if (desk === undefined) this.#unserved(this.#return(packet), address);
        return;
      }
      const { bay, id, marks } = tail;
      type = marks["pb-type"];
      const known = this.#presence.note(bay) !== undefined || bay === this.#context.identity.id;
      const to: Return = {
        topic: id === "" ? undefined : this.#topics.to(bay),
        correlation: undefined,
        bay: known ? bay : undefined,
        id,
        qos: packet.qos,
      };
      if (desk === undefined) return this.#unserved(to, address);
      told = this.#told(to, marks);
    } else told = this.#told(this.#return(packet), packet.properties?.userProperties ?? {});
    this.#take(desk, payload, told, type);
  }

  /**
   * A message at a topic that is none of ours has come.
   *
   * @param topic The topic.
   * @param payload The value.
   * @param packet What came with it.
   * @returns Whether it is served.
   */
  calledNative(topic: string, payload: Buffer, packet: Packet): boolean {
    const told = packet.properties?.subscriptionIdentifier;
    let known = false;
    for (const desk of this.#desks.values()) {
      const { native } = desk;
      // Of what comes once for each filter, one is the call.
      if (native === undefined || !this.#subscriptions.belongs(native.topic, topic, told)) continue;
      known = true;
      const notes = this.#told(this.#return(packet), packet.properties?.userProperties ?? {});
      this.#take(desk, payload, notes, packet.properties?.contentType);
    }
    return known;
  }

  /** A call was taken back. */
  cancelled(bay: string, id: string): void {
    const caller = `${bay} ${id}`;
    const call = this.#running.get(caller);
    if (call !== undefined) return this.#giveUp(call);
    this.#early.add(caller);
    if (this.#early.size > MAX_EARLY) {
      this.#early.delete(this.#early.values().next().value as string);
    }
  }

  /** A caller asks for a call that may have come too late. */
  asked(bay: string, id: string): void {
    const caller = `${bay} ${id}`;
    if (this.#running.has(caller)) return;
    for (const { held } of this.#desks.values()) {
      if (held?.some((each) => each.caller === caller)) return;
    }
    const to = { topic: this.#topics.to(bay), correlation: undefined, bay, id, qos: 0 } as const;
    this.#answer(to, JSON.stringify(closing("the server has closed").toWire()), undefined, true);
  }

  /** A bay is gone: nobody waits for what it has asked. */
  died(bay: string): void {
    for (const call of [...this.#running.values()]) if (call.to.bay === bay) this.#giveUp(call);
  }

  /** The connection was lost: the callers have been told so. */
  lost(): void {
    for (const call of [...this.#running.values()]) this.#giveUp(call);
  }

  /** @ignore The handler has answered. */
  succeed(call: InboundCall, value: unknown): void {
    const { statistics, contract } = call.endpoint;
    try {
      const payload = this.#payloads.encode(value, contract.codec);
      this.#over(call);
      statistics.bytesOut += payload.bytes;
      this.#answer(call.to, payload.data, contentTypeOf(payload), false);
    } catch (error) {
      const known = PatchbayError.fromThrown(error);
      statistics.countError(known.code);
      this.fail(call, known);
    }
  }

  /** @ignore It failed. */
  fail(call: InboundCall, error: PatchbayError): void {
    this.#over(call);
    this.#answer(call.to, JSON.stringify(error.toWire()), undefined, true);
  }

  async #open(desk: ServedAddress, endpoint: CallableEndpoint): Promise<void> {
    const { address, sharing } = desk;
    try {
      // Calls that come before the claim is decided wait for it: they are the winner's.
      await this.#subscriptions.enter(desk.filters, desk.wish);
      const holder = await this.#presence.claim(address, sharing, endpoint.bridged);
      if (holder !== undefined) throw this.#refusal(address, holder);
      const native = nativeTopic(endpoint.contract.native);
      if (native !== undefined) {
        desk.native = { topic: native.topic, wish: { qos: native.qos ?? 1, marked: true } };
        await this.#subscriptions.enter([native.topic], desk.native.wish);
      }
    } catch (error) {
      desk.held = undefined;
      this.#desks.delete(address);
      await this.#unsubscribe(desk);
      throw error;
    }
    const held = desk.held ?? [];
    desk.held = undefined;
    for (const { take } of held) take();
  }

  #makeDesk(endpoint: CallableEndpoint): ServedAddress {
    const { address, shared } = endpoint;
    const { shares, version } = this.#connection;
    const topic = this.#topics.call(address);
    const plain = [topic, `${topic}/@/#`];
    if (!shared) return new ServedAddress(address, "exclusive", plain);
    // In MQTT 3.1.1 nobody says whether the broker shares: our callers choose one themselves.
    const sharing = shares || version === 4 ? plain.map((each) => `$share/${GROUP}/${each}`) : [];
    return new ServedAddress(address, shares ? "shared" : "each", sharing);
  }

  async #unsubscribe({ filters, wish, native }: ServedAddress): Promise<void> {
    const leaving = [this.#subscriptions.leave(filters, wish)];
    if (native !== undefined) leaving.push(this.#subscriptions.leave([native.topic], native.wish));
    await Promise.all(leaving);
  }

  #refusal(address: string, holder: string): PatchbayError {
    return new PatchbayError("unavailable", `${address} is already served by ${holder}`, {
      address,
      pattern: "callable",
      transport: this.#context.name,
      retryable: false,
      remedy: 'close the first server, or serve both with sharing: "shared"',
    });
  }

  /** Where the answer to a message of MQTT 5 goes. */
  #return({ properties, qos }: Packet): Return {
    const topic = properties?.responseTopic;
    const correlation = properties?.correlationData;
    const bay = topic === undefined ? undefined : this.#topics.bayOfReplies(topic);
    const id = bay === undefined ? "" : correlation?.toString("latin1") ?? "";
    return { topic, correlation: correlation ?? NO_BYTES, bay, id, qos };
  }

  #told(to: Return, marks: Readonly<Record<string, string | string[]>>): Told {
    const [module, timeout] = String(marks["pb-call"] ?? "").split(" ");
    const timeoutMs = Number(timeout);
    return {
      to,
      headers: headersOf(marks),
      peer: {
        module: module === "" ? "a foreign program" : module,
        transport: this.#context.name,
        local: false,
      },
      timeoutMs: timeoutMs > 0 ? timeoutMs : Infinity,
    };
  }

  #unserved(to: Return, address: string): void {
    const error = closing(`${address}: the server is closing`);
    this.#answer(to, JSON.stringify(error.toWire()), undefined, true);
  }

  #take(desk: ServedAddress, payload: Buffer, told: Told, type: string | undefined): void {
    const caller = `${told.to.bay} ${told.to.id}`;
    if (desk.held !== undefined) {
      const take = () => this.#take(desk, payload, told, type);
      if (desk.held.length < MAX_HELD) desk.held.push({ caller, take });
      else this.#context.statistics.countDrop("overflow_newest");
      return;
    }
    if (desk.endpoints.length === 0) return this.#unserved(told.to, desk.address);
    const call = new InboundCall(this, desk, told);
    const { endpoint, to } = call;
    const { statistics } = endpoint;
    statistics.bytesIn += payload.length;
    if (to.bay !== undefined && this.#early.size > 0 && this.#early.delete(caller)) return;
    let value: unknown;
    try {
      value = this.#payloads.decode(payload, type);
    } catch (error) {
      const known = PatchbayError.fromThrown(error);
      statistics.countError(known.code);
      if (known.code === "protocol") statistics.countDrop("undecodable");
      return this.fail(call, known);
    }
    if (to.bay !== undefined) this.#running.set(caller, call);
    if (this.#context.authorize === undefined) {
      endpoint.handle(value, call, call);
      if (!call.settled) this.#taken(call);
      return;
    }
    void this.#authorized(call).then((may) => {
      if (call.settled) return;
      if (may) {
        endpoint.handle(value, call, call);
        if (!call.settled) this.#taken(call);
        return;
      }
      statistics.countError("forbidden");
      call.fail(
        new PatchbayError("forbidden", `${call.peer.module} may not call ${desk.address}`),
      );
    });
  }

  /** Where the broker has chosen the server, the caller learns who must not die. */
  #taken({ desk, to }: InboundCall): void {
    if (desk.sharing !== "shared" || to.bay === undefined || !this.#connection.up) return;
    const topic = `${this.#topics.to(to.bay)}taken/${to.id}/${this.#context.identity.id}`;
    this.#connection.outbox.publish(topic, "", { qos: 0 });
  }

  /** Asked once for each caller and address. One that throws refuses, and is asked again. */
  #authorized({ peer, to, address }: InboundCall): Promise<boolean> {
    const key = `${to.bay ?? ""} ${peer.module} ${address}`;
    let verdict = this.#verdicts.get(key);
    if (verdict === undefined) {
      const { authorize } = this.#context;
      verdict = (async () => await authorize?.(peer, "call", address) === true)().catch(() => {
        this.#verdicts.delete(key);
        return false;
      });
      if (this.#verdicts.size >= MAX_VERDICTS) this.#verdicts.clear();
      this.#verdicts.set(key, verdict);
    }
    return verdict;
  }

  #over(call: InboundCall): void {
    call.settled = true;
    if (call.to.bay !== undefined) this.#running.delete(`${call.to.bay} ${call.to.id}`);
  }

  #giveUp(call: InboundCall): void {
    if (call.settled) return;
    this.#over(call);
    call.endpoint.abandon(call);
    call.abort();
  }

  #answer(to: Return, data: string | Buffer, type: string | undefined, failed: boolean): void {
    const { topic, correlation, id } = to;
    if (topic === undefined) return;
    const { up, outbox } = this.#connection;
    if (!up) return void this.#context.statistics.countDrop("disconnected");
    const qos = to.bay === undefined ? to.qos : 0;
    let where = topic;
    let properties: Properties | undefined;
    if (correlation === undefined) {
      where = `${topic}${failed ? "error" : "reply"}/${id}`;
      if (type !== undefined) where += `/${typeLevel(type)}`;
    } else {
      properties = {};
      if (correlation.length > 0) properties.correlationData = correlation as Buffer;
      if (type !== undefined) properties.contentType = type;
      if (failed) properties.userProperties = { "pb-error": codeOf(data) };
    }
    const no = failed ? undefined : outbox.refusal("the answer", where, data, properties);
    if (no !== undefined) return this.#answer(to, JSON.stringify(no.toWire()), undefined, true);
    outbox.publish(where, data, { qos, properties }, qos > 0 ? ignore : undefined);
  }

  async #leave(desk: ServedAddress, endpoint: CallableEndpoint): Promise<void> {
    const index = desk.endpoints.indexOf(endpoint);
    if (index >= 0) desk.endpoints.splice(index, 1);
    const { address } = desk;
    if (desk.endpoints.length > 0 || this.#desks.get(address) !== desk) return;
    const leaving = this.#unserve(desk).finally(() => this.#leaving.delete(address));
    this.#leaving.set(address, leaving.catch(() => {}));
    await leaving;
  }

  async #unserve(desk: ServedAddress): Promise<void> {
    await this.#presence.withdraw(desk.address);
    await this.#unsubscribe(desk);
    this.#desks.delete(desk.address);
  }
}

const NO_BYTES = new Uint8Array(0);

/** What came of an answer to a foreign program is its broker's affair. */
function ignore(): void {}

function closing(message: string): PatchbayError {
  return new PatchbayError("closed", message, { details: { notExecuted: true } });
}

function codeOf(data: string | Buffer): string {
  return typeof data === "string" ? (JSON.parse(data) as { code: string }).code : "remote";
}

/** A content type as one level of a topic: `application/msgpack` has two. */
function typeLevel(type: string): string {
  return encodeURIComponent(type);
}
