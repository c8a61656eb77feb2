/**
 * The ways of a directory wire: where calls, jobs and shouts of one address go.
 *
 * @module
 */

import type { OutboundCall } from "../callable.ts";
import { PatchbayError } from "../errors.ts";
import type { OutboundJob } from "../job.ts";
import { ForwardedCall } from "../layers/forwarded.ts";
import type { EventContext } from "../listener.ts";
import type { CallPort, JobPort, SpeakerPort } from "../plugin.ts";
import type { Publication } from "../session/publication.ts";
import type { SpeakerEndpoint } from "../speaker.ts";
import type { Peer } from "./peer.ts";

/** How long a new speaker waits for the listeners that the directory names, in milliseconds. */
const READY_MS = 1000;

const GIVEN_UP = Symbol("given up");

function nobody(address: string, transport: string): PatchbayError {
  return new PatchbayError("not_found", `${address}: no live module of this host serves it`, {
    address,
    transport,
    remedy: "start the module that serves it; patchbay list shows who is there",
  });
}

/** The way of calls to one address. */
export class CallWay implements CallPort {
  readonly #address: string;
  readonly #transport: string;
  readonly #peers: readonly Peer[];
  #turn = 0;

  /**
   * @param peers The bays that serve the address: several, if they share it.
   * @param address The address.
   * @param transport The plugin's name.
   */
  constructor(peers: readonly Peer[], address: string, transport: string) {
    this.#peers = peers;
    this.#address = address;
    this.#transport = transport;
  }

  /** As {@link CallPort.start}. */
  start(call: OutboundCall): void {
    const peers = this.#peers;
    if (peers.length === 1) return this.sendTo(peers[0], call);
    if (peers.length === 0) return call.fail(nobody(this.#address, this.#transport));
    this.#turn = (this.#turn + 1) % peers.length;
    const order = [...peers.slice(this.#turn), ...peers.slice(0, this.#turn)];
    const shared = new SharedCall(call, this, order);
    call.slot = shared;
    shared.next();
  }

  /** As {@link CallPort.cancel}. */
  cancel(call: OutboundCall): void {
    const sent = call.slot instanceof SharedCall ? call.slot : call;
    // Asked of each session in turn: a note of the way for each call would cost every call.
    for (const peer of this.#peers) {
      if (peer.session?.outbound.cancelRequest(sent) === true) return;
    }
    // It waits for a connection: sendTo() finds this.
    sent.slot = GIVEN_UP;
  }

  /** As {@link CallPort.close}. */
  close(): void {}

  /** @ignore */
  sendTo(peer: Peer, call: OutboundCall): void {
    const { session } = peer;
    if (session !== undefined) return session.outbound.request(call);
    peer.connect().then((opened) => {
      // The caller may have given up meanwhile: cancel() left word in the slot.
      if (call.slot !== GIVEN_UP) opened.outbound.request(call);
    }, (error) => call.fail(error));
  }
}

/** A call to an address that several serve: one that has just gone sends it on to the next. */
class SharedCall extends ForwardedCall {
  readonly #way: CallWay;
  readonly #left: Peer[];

  constructor(call: OutboundCall, way: CallWay, order: Peer[]) {
    super(call);
    this.#way = way;
    this.#left = order;
  }

  next(): void {
    this.#way.sendTo(this.#left.shift() as Peer, this);
  }

  override fail(error: unknown): void {
    const untouched = error instanceof PatchbayError && error.details?.notExecuted === true &&
      error.code !== "overloaded";
    if (untouched && this.#left.length > 0 && this.slot !== GIVEN_UP) return this.next();
    super.fail(error);
  }
}

/** The way of one job. */
export class JobWay implements JobPort {
  readonly #peers: readonly Peer[];
  readonly #address: string;
  readonly #transport: string;
  #peer: Peer | undefined;
  #job: OutboundJob | undefined;

  /**
   * @param peers The bays that perform the job.
   * @param address The address.
   * @param transport The plugin's name.
   */
  constructor(peers: readonly Peer[], address: string, transport: string) {
    this.#peers = peers;
    this.#address = address;
    this.#transport = transport;
  }

  /** As {@link JobPort.start}. */
  start(job: OutboundJob): void {
    // Spread over the servers that share the address; afterwards the job stays where it is.
    const peer = this.#peers[Math.floor(Math.random() * this.#peers.length)];
    if (peer === undefined) return job.fail(nobody(this.#address, this.#transport));
    this.#peer = peer;
    this.#job = job;
    void peer.execute(job);
  }

  /** As {@link JobPort.cancel}. */
  cancel(job: OutboundJob, reason: string | undefined): void {
    this.#peer?.cancel(job, reason);
  }

  /** As {@link JobPort.abandon}. */
  abandon(job: OutboundJob): void {
    this.#peer?.abandon(job);
  }

  /** As {@link JobPort.close}. */
  close(): void {
    if (this.#job !== undefined) this.#peer?.forget(this.#job);
  }
}

/** What a speaker's way asks of its transport. */
export interface SpeakHost {
  /** Takes a speaker out. */
  silence(way: SpeakWay): void;
  /** The ids of the bays that the directory names as listeners of an address. */
  listenersOf(address: string): Promise<string[]>;
}

/** The way of one speaker's shouts. */
export class SpeakWay implements SpeakerPort {
  /** The speaker. */
  readonly endpoint: SpeakerEndpoint;
  readonly #host: SpeakHost;
  #publications: readonly Publication[] = [];
  #onJoin: (() => void) | undefined;

  /**
   * @param endpoint The speaker.
   * @param host The transport.
   */
  constructor(endpoint: SpeakerEndpoint, host: SpeakHost) {
    this.endpoint = endpoint;
    this.#host = host;
  }

  /** The speaker's address. */
  get address(): string {
    return this.endpoint.address;
  }

  /** How many listeners have joined. */
  get listeners(): number {
    return this.#publications.length;
  }

  /** As {@link SpeakerPort.shout}. */
  shout(value: unknown, context: EventContext): void | Promise<void> {
    const publications = this.#publications;
    if (publications.length === 1) return publications[0].publish(this.endpoint, value, context);
    let waits: Promise<void>[] | undefined;
    let refusal: unknown;
    for (const publication of publications) {
      try {
        const wait = publication.publish(this.endpoint, value, context);
        if (wait !== undefined) (waits ??= []).push(wait);
      } catch (error) {
        // One listener that is full must not cost the others their message.
        refusal = error;
      }
    }
    if (refusal !== undefined) throw refusal;
    if (waits !== undefined) return Promise.all(waits).then(() => {});
  }

  /** As {@link SpeakerPort.ready}. */
  async ready(): Promise<void> {
    const expected = await this.#host.listenersOf(this.endpoint.address);
    const missing = () => {
      const there = new Set(this.#publications.map((one) => one.subscriber));
      return expected.some((id) => !there.has(id));
    };
    if (!missing()) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    await new Promise<void>((resolve) => {
      timer = setTimeout(resolve, READY_MS);
      this.#onJoin = () => {
        if (!missing()) resolve();
      };
    });
    clearTimeout(timer);
    this.#onJoin = undefined;
  }

  /** @ignore A peer has subscribed. */
  add(publication: Publication): void {
    if (!publication.wants(this.endpoint.address)) return;
    this.#publications = [...this.#publications, publication];
    const { last } = this.endpoint;
    if (publication.terms.retained && last !== undefined) {
      try {
        void publication.publish(this.endpoint, last.value, { ...last.context, retained: true });
      } catch (error) {
        // Too large for this peer, say: it goes without, and the subscription stands.
        const { code } = PatchbayError.fromThrown(error);
        this.endpoint.statistics.countDrop(code);
      }
    }
    this.#onJoin?.();
  }

  /** @ignore A peer has unsubscribed, or is gone. */
  delete(publication: Publication): void {
    if (!this.#publications.includes(publication)) return;
    this.#publications = this.#publications.filter((one) => one !== publication);
  }

  /** As {@link SpeakerPort.close}. */
  close(): Promise<void> {
    for (const publication of this.#publications) publication.leave(this.endpoint);
    this.#publications = [];
    this.#host.silence(this);
    return Promise.resolve();
  }
}
