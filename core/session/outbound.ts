/**
 * What this side of a session has begun at the other: calls, subscriptions and jobs.
 *
 * @module
 */

import type { OutboundCall } from "../callable.ts";
import { PatchbayError } from "../errors.ts";
import type { SlotReader } from "../latest_slot.ts";
import type { LinkSlots } from "../link.ts";
import type { OutboundJob } from "../job.ts";
import type { EventContext } from "../listener.ts";
import type { Peer } from "../plugin.ts";
import type { Overflow } from "../queue.ts";
import type { EndpointStatistics } from "../statistics.ts";
import { decodeControl, encodeControl, Flag, Kind } from "./envelope.ts";
import { Frame } from "./frame.ts";
import type { InboundRoute } from "./route.ts";
import type { Waiting } from "./outbox.ts";
import { type Origin, Passing } from "./passing.ts";
import type { FrameHead, Sender } from "./sender.ts";
import type { SubscriptionTerms } from "./publication.ts";

/** What this half asks of its session. */
export interface OutboundHost {
  /** The sending half. */
  readonly sender: Sender;
  /** Who is on the other side. */
  readonly peer: Peer;
  /** The id of the bay on the other side. */
  readonly origin: string;
  /** The plugin's name. */
  readonly transport: string;
  /** Slots for newest values, if the link has them. */
  readonly slots?: LinkSlots;
  /** The number of an address on this connection. */
  routeOf(address: string, origin?: Origin): number;
  /** What the peer has bound to a number. */
  inboundRoute(route: number): InboundRoute;
  /** Reports what nobody awaits. */
  report(error: PatchbayError): void;
}

/** A subscription of this side at the peer. */
export interface Subscription {
  /** Ends it. */
  close(): void;
}

/** One publisher's way to a {@link Subscriber}. */
export interface SubscriberSource {
  /** Set here: so many messages have left the queue. */
  onConsumed: ((count: number) => void) | undefined;
  /** Set here: delivers at once what is newer than what was delivered last. */
  onPull?: (() => void) | undefined;
  /** One message. */
  deliver(value: unknown, context: EventContext): void;
  /** The publisher is gone. */
  close(): void;
}

/** Who listens at the peer: a listener of this bay, or a relay. */
export interface Subscriber {
  /** Whether values are passed on as they came, as {@link Passing}: lent for the delivery. */
  readonly passes?: true;
  /** Whether bytes are lent, as {@link import("../bytes_view.ts").BytesView}. */
  readonly views?: boolean;
  /** The address or pattern. */
  readonly pattern: string;
  /** What happens to a message that finds the queue full. */
  readonly overflow: Overflow;
  /** The most messages that wait. */
  readonly maxQueue: number;
  /** Whether it wants retained values. */
  readonly retained: boolean;
  /** Whether only the newest value counts. */
  readonly latest?: boolean;
  /** Its counters. */
  readonly statistics: EndpointStatistics;
  /** A publisher has joined. */
  attach(): SubscriberSource;
  /** The publisher has ended the subscription. */
  fail(error: PatchbayError): void;
}

class Subscribed {
  readonly listener: Subscriber;
  readonly source: SubscriberSource;
  readonly acknowledged = Promise.withResolvers<void>();
  /** With overflow `block`: messages taken up since credit was last returned. */
  owed = 0;
  /** The peer's slots for its newest values, by number. */
  slots: Map<number, SlotReader> | undefined = undefined;

  constructor(listener: Subscriber) {
    this.listener = listener;
    this.source = listener.attach();
    this.acknowledged.promise.catch(() => {});
  }
}

class RemoteEvent implements EventContext {
  readonly address: string;
  readonly sequence: number;
  readonly origin: string;
  readonly headers: Readonly<Record<string, string>> | undefined;
  readonly priority: number;
  readonly retained: boolean;
  readonly peer: Peer;

  constructor(frame: Frame, address: string, origin: string, peer: Peer) {
    this.address = address;
    this.sequence = frame.number;
    this.origin = origin;
    this.headers = frame.headers();
    this.priority = frame.priority;
    this.retained = (frame.flags & Flag.retained) !== 0;
    this.peer = peer;
  }
}

function idBytes(id: string): Uint8Array {
  const bytes = new Uint8Array(16);
  for (let i = 0; i < 16; i++) bytes[i] = parseInt(id.slice(2 * i, 2 * i + 2), 16);
  return bytes;
}

const NO_BODY = new Uint8Array(0);

function cancelHead(kind: number, flags: number, id: number, priority: number): FrameHead {
  return { kind, flags, priority, headers: undefined, id, route: 0, number: 0, paid: true };
}

/** The outbound half of a session. */
export class Outbound {
  readonly #host: OutboundHost;
  readonly #calls = new Map<number, OutboundCall>();
  /** What had to wait, and may still. */
  readonly #waiting = new Map<OutboundCall | OutboundJob, Waiting>();
  readonly #subscriptions = new Map<number, Subscribed>();
  readonly #jobs = new Map<number, OutboundJob>();
  readonly #jobIds = new Map<OutboundJob, number>();
  #nextId: number;
  /** What was copied out of a slot. */
  #slotBytes: Uint8Array | undefined;
  readonly #slotFrame = new Frame();
  #ended: PatchbayError | undefined;

  /**
   * @param host The session.
   * @param lastId The id before the first that is given.
   */
  constructor(host: OutboundHost, lastId = 1) {
    this.#host = host;
    this.#nextId = lastId;
  }

  /** The jobs that run at the peer. */
  get jobs(): readonly OutboundJob[] {
    return [...this.#jobs.values()];
  }

  /** How many calls wait for their response. */
  get pending(): number {
    return this.#calls.size;
  }

  /** As {@link import("../plugin.ts").CallPort.start}. */
  request(call: OutboundCall): void {
    if (this.#ended !== undefined) return call.fail(this.#ended);
    const { sender } = this.#host;
    const id = this.#id();
    try {
      const codec = sender.codecFor(call.codec, call.value);
      const origin = call.value instanceof Passing ? call.value.origin : undefined;
      const route = this.#host.routeOf(call.address, origin);
      const waiting = sender.value(
        {
          kind: Kind.request,
          flags: 0,
          priority: call.priority,
          headers: call.headers,
          id,
          route,
          number: call.remainingMs,
          paid: true,
        },
        codec,
        call.value,
        call.statistics,
      );
      this.#calls.set(id, call);
      call.slot = id;
      if (waiting !== undefined) this.#waiting.set(call, waiting);
    } catch (error) {
      call.fail(error);
    }
  }

  /**
   * The caller has given up.
   *
   * @returns False if the call did not go over this session, or has ended.
   */
  cancelRequest(call: OutboundCall): boolean {
    const id = call.slot as number;
    if (this.#calls.get(id) !== call) return false;
    this.#calls.delete(id);
    const waiting = this.#waiting.get(call);
    this.#waiting.delete(call);
    const { sender } = this.#host;
    const bytes = waiting?.bytes;
    if (waiting !== undefined && bytes !== undefined) {
      // It has not left yet: taken back instead of cancelled.
      waiting.bytes = undefined;
      sender.outbox.changed(-bytes.length);
    } else if (waiting === undefined || waiting.sent) sender.control(Kind.cancel, id, 0);
    // It is leaving in fragments: a cancel must not arrive before it.
    else sender.behind(cancelHead(Kind.cancel, 0, id, call.priority), NO_BODY);
    return true;
  }

  /** Sends a goal. */
  goal(job: OutboundJob): void {
    if (this.#ended !== undefined) return job.fail(this.#ended);
    const { sender } = this.#host;
    const id = this.#id();
    try {
      const codec = sender.codecFor(job.codec, job.goal);
      const waiting = sender.value(
        {
          kind: Kind.goal,
          flags: 0,
          priority: job.priority,
          headers: job.headers,
          id,
          route: this.#routeOf(job),
          number: job.timeoutMs,
          prefix: idBytes(job.id),
          paid: true,
        },
        codec,
        job.goal,
        job.statistics,
      );
      this.#jobs.set(id, job);
      this.#jobIds.set(job, id);
      if (waiting !== undefined) this.#waiting.set(job, waiting);
    } catch (error) {
      job.fail(error);
    }
  }

  /** Goes on with a job that was begun over another connection. */
  attach(job: OutboundJob): void {
    // Whoever owns the job attaches it over the next connection.
    if (this.#ended !== undefined) return;
    const id = this.#id();
    this.#jobs.set(id, job);
    this.#jobIds.set(job, id);
    const body = idBytes(job.id);
    this.#host.sender.control(Kind.attach, id, job.lastSequence, body, this.#routeOf(job));
  }

  /** The owner's connection is lost: the worker is told, and nothing more is wanted here. */
  detach(job: OutboundJob): void {
    const id = this.#jobIds.get(job);
    if (id === undefined) return;
    const waiting = this.#waiting.get(job);
    const { sender } = this.#host;
    if (waiting === undefined || waiting.sent) sender.control(Kind.detach, id, 0);
    else sender.behind(cancelHead(Kind.detach, 0, id, job.priority), NO_BODY);
    this.#forgetJob(id, job);
  }

  /** Asks the worker to stop; with `abandon` no outcome is wanted. */
  cancelJob(job: OutboundJob, reason: string | undefined, abandon: boolean): void {
    const id = this.#jobIds.get(job);
    if (id === undefined) return;
    const body = encodeControl({ reason: reason?.slice(0, 2048) });
    const flags = abandon ? Flag.abandon : 0;
    const { sender } = this.#host;
    const waiting = this.#waiting.get(job);
    if (waiting === undefined || waiting.sent) {
      sender.control(Kind.cancelJob, id, 0, body, 0, flags);
      // The goal still waits: a cancel that overtook it would be lost.
    } else sender.behind(cancelHead(Kind.cancelJob, flags, id, job.priority), body);
    if (abandon) this.#forgetJob(id, job);
  }

  /** Listens at the peer; resolves when it has acknowledged. */
  async subscribe(listener: Subscriber): Promise<Subscription> {
    if (this.#ended !== undefined) throw this.#ended;
    const id = this.#id();
    const subscribed = new Subscribed(listener);
    this.#subscriptions.set(id, subscribed);
    const { sender } = this.#host;
    const { pattern, overflow, maxQueue, retained, latest } = listener;
    if (overflow === "block") {
      // Credit is returned in a few steps, not for each message.
      const step = Math.max(1, Math.floor(maxQueue / 4));
      subscribed.source.onConsumed = (count) => {
        subscribed.owed += count;
        if (subscribed.owed < step) return;
        sender.control(Kind.credit, id, subscribed.owed);
        subscribed.owed = 0;
      };
    }
    const terms: SubscriptionTerms = { pattern, overflow, maxQueue, retained, latest };
    sender.control(Kind.subscribe, id, 0, encodeControl(terms));
    await subscribed.acknowledged.promise;
    return {
      close: () => {
        if (!this.#subscriptions.delete(id)) return;
        subscribed.source.close();
        sender.control(Kind.unsubscribe, id, 0);
      },
    };
  }

  /** A frame came that answers something this side has begun. */
  receive(frame: Frame): void {
    switch (frame.kind) {
      case Kind.response:
        return this.#response(frame);
      case Kind.error:
        return this.#error(frame);
      case Kind.event:
        return this.#event(frame);
      case Kind.subscribeAck:
        this.#subscriptions.get(frame.id)?.acknowledged.resolve();
        return;
      case Kind.latest:
        return this.#latest(frame);
      case Kind.accepted:
        this.#jobs.get(frame.id)?.accepted();
        return;
      case Kind.feedback:
        return this.#feedback(frame);
      case Kind.result:
        return this.#result(frame);
    }
  }

  /** The session has ended: what is pending fails; jobs are left to whoever re-attaches them. */
  end(error: PatchbayError): void {
    this.#ended = new PatchbayError("closed", error.message, {
      details: { notExecuted: true },
      cause: error,
    });
    const calls = [...this.#calls.values()];
    this.#calls.clear();
    this.#waiting.clear();
    for (const call of calls) call.fail(error);
    for (const subscribed of this.#subscriptions.values()) {
      subscribed.acknowledged.reject(error);
      subscribed.source.close();
    }
    this.#subscriptions.clear();
    this.#jobs.clear();
    this.#jobIds.clear();
  }

  #id(): number {
    // 2^32 ids: one that comes round again after weeks must not meet its predecessor.
    do {
      this.#nextId = this.#nextId === 0xffff_ffff ? 1 : this.#nextId + 1;
    } while (
      this.#calls.has(this.#nextId) || this.#subscriptions.has(this.#nextId) ||
      this.#jobs.has(this.#nextId)
    );
    return this.#nextId;
  }

  #response(frame: Frame): void {
    const call = this.#calls.get(frame.id);
    if (call === undefined) return;
    this.#calls.delete(frame.id);
    if (this.#waiting.size > 0) this.#waiting.delete(call);
    call.statistics.bytesIn += frame.bodyBytes;
    try {
      call.succeed(this.#answer(frame, call.value));
    } catch (error) {
      call.fail(error);
    }
  }

  #error(frame: Frame): void {
    const body = frame.body();
    const call = this.#calls.get(frame.id);
    const known = { transport: this.#host.transport, address: call?.address };
    let error: PatchbayError;
    try {
      error = PatchbayError.fromWire(decodeControl(body), known);
    } catch (unreadable) {
      error = PatchbayError.fromThrown(unreadable);
    }
    if (call !== undefined) {
      this.#calls.delete(frame.id);
      this.#waiting.delete(call);
      return call.fail(error);
    }
    const job = this.#jobs.get(frame.id);
    if (job !== undefined) {
      this.#forgetJob(frame.id, job);
      return job.fail(error);
    }
    const subscribed = this.#subscriptions.get(frame.id);
    if (subscribed === undefined) return;
    subscribed.acknowledged.reject(error);
    this.#subscriptions.delete(frame.id);
    subscribed.source.close();
    subscribed.listener.fail(error);
  }

  #event(frame: Frame): void {
    const subscribed = this.#subscriptions.get(frame.id);
    if (subscribed === undefined) return;
    const { statistics } = subscribed.listener;
    statistics.bytesIn += frame.bodyBytes;
    const { origin, peer } = this.#host;
    const route = this.#host.inboundRoute(frame.route);
    const { address } = route;
    let value: unknown;
    try {
      const { sender } = this.#host;
      const { views, passes } = subscribed.listener;
      value = passes !== undefined
        ? sender.passing(frame, undefined, 0, true)
        : (views === true ? frame.lent(sender) : undefined) ?? frame.value(sender);
    } catch (error) {
      statistics.countDrop("undecodable");
      subscribed.source.onConsumed?.(1);
      const known = { pattern: "speaker", transport: peer.transport, address } as const;
      return this.#host.report(PatchbayError.fromThrown(error).with(known));
    }
    const from = route.origin?.id ?? origin;
    subscribed.source.deliver(value, new RemoteEvent(frame, address, from, route.peer(peer)));
  }

  /** There is something new in a slot of the peer. */
  #latest(frame: Frame): void {
    const { id, number: index, route: before } = frame;
    const subscribed = this.#subscriptions.get(id);
    if (subscribed === undefined) return;
    const slots = subscribed.slots ??= new Map();
    let slot = slots.get(index);
    if (slot === undefined) {
      slot = this.#host.slots?.reader(index, before);
      if (slot === undefined) throw new PatchbayError("protocol", `there is no slot ${index}`);
      slots.set(index, slot);
      subscribed.source.onPull = () => {
        try {
          for (const each of slots.values()) if (each.isNewer) this.#pull(subscribed, id, each);
        } catch (error) {
          this.#host.report(PatchbayError.fromThrown(error));
        }
      };
    }
    this.#pull(subscribed, id, slot);
  }

  #pull(subscribed: Subscribed, id: number, slot: SlotReader): void {
    slot.listen();
    const buffer = this.#slotBytes ??= new Uint8Array(this.#host.slots?.capacity ?? 0);
    const bytes = slot.read(buffer);
    // A look ahead has taken it already.
    if (bytes < 0) return;
    const frame = this.#slotFrame;
    frame.read(buffer, 0, bytes);
    if (frame.kind !== Kind.event || frame.id !== id) {
      throw new PatchbayError("protocol", "a slot holds what is not of its subscription");
    }
    if (slot.overwritten > 0) {
      subscribed.listener.statistics.countDrop("overwritten", slot.overwritten);
    }
    this.#event(frame);
  }

  #feedback(frame: Frame): void {
    const job = this.#jobs.get(frame.id);
    if (job === undefined) return;
    job.statistics.bytesIn += frame.bodyBytes;
    try {
      if ((frame.flags & Flag.progress) === 0) {
        job.feedback(this.#answer(frame, job.goal), frame.number);
      } else job.progressed(Number(frame.value(this.#host.sender)), frame.number);
    } catch (error) {
      job.statistics.countDrop("undecodable");
      this.#host.report(PatchbayError.fromThrown(error));
    }
  }

  #result(frame: Frame): void {
    const job = this.#jobs.get(frame.id);
    if (job === undefined) return;
    this.#forgetJob(frame.id, job);
    job.statistics.bytesIn += frame.bodyBytes;
    try {
      job.succeed(this.#answer(frame, job.goal));
    } catch (error) {
      job.fail(error);
    }
  }

  /** The value of an answer: passed on as it came where the question was. */
  #answer(frame: Frame, question: unknown): unknown {
    const { sender } = this.#host;
    if (question instanceof Passing) return sender.passing(frame, undefined);
    return frame.value(sender);
  }

  #routeOf(job: OutboundJob): number {
    const origin = job.goal instanceof Passing ? job.goal.origin : undefined;
    return this.#host.routeOf(job.address, origin);
  }

  #forgetJob(id: number, job: OutboundJob): void {
    this.#jobs.delete(id);
    this.#jobIds.delete(job);
    this.#waiting.delete(job);
  }
}
