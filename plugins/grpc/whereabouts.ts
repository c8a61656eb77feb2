/**
 * Who is where: the bays of this host by its directory, those of other hosts by what they tell.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import {
  type ListenerEndpoint,
  matches,
  type Offer,
  offersIn,
  type PatchbayError,
  type Pattern,
  readBridged,
  type TransportContext,
} from "@patchbay/core";
import { baseMetadata } from "./calls_out.ts";
import type { StreamHost } from "./listening.ts";
import { messages, PATH, PATTERNS, type Presence, type PresentEndpoint } from "./messages.ts";
import { Reader } from "./reader.ts";

/** A bay that can be reached. */
export interface Bay {
  /** Its URL. */
  readonly url: string;
  /** Its module's name. */
  readonly module: string;
  /** Its instance's name. */
  readonly instance: string;
}

/** How long a peer may take to say what is there, in milliseconds. */
const ASK_MS = 800;

type Wanted = (
  endpoint: { readonly role: string; readonly pattern: Pattern; readonly address: string },
) => boolean;

/** Knows who is where. */
export class Whereabouts {
  readonly #context: TransportContext;
  readonly #urls: readonly string[];
  readonly #transport: StreamHost;
  readonly #moved: () => void;
  readonly #unwatch: (() => void) | undefined;
  readonly #peers: RemoteBay[] = [];
  /** URLs of bays that the directory has named once. */
  readonly #seen = new Set<string>();

  /**
   * @param context What core gave the plugin.
   * @param urls The bays of other hosts.
   * @param transport How peers are asked.
   * @param moved Called when somebody has come or gone.
   */
  constructor(
    context: TransportContext,
    urls: readonly string[],
    transport: StreamHost,
    moved: () => void,
  ) {
    this.#context = context;
    this.#urls = urls;
    this.#transport = transport;
    this.#moved = moved;
    this.#unwatch = context.directory?.watch(moved);
  }

  /** Begins to look for the peers. */
  open(): void {
    for (const url of this.#urls) {
      this.#peers.push(new RemoteBay(url, this.#transport, this.#moved));
    }
  }

  /** The bays that serve, perform or speak at an address. */
  holders(pattern: Pattern, address: string): Bay[] {
    return this.#bays((e) =>
      e.role === (pattern === "speaker" ? "speaker" : "server") && e.pattern === pattern &&
      e.address === address
    );
  }

  /** The bays that have a speaker for a listener. */
  speakersFor(endpoint: ListenerEndpoint): Bay[] {
    return this.#bays((e) => e.role === "speaker" && endpoint.accepts(e.address));
  }

  /** What others offer at the addresses of a pattern. */
  offers(match: string): Offer[] {
    const { directory, name, identity } = this.#context;
    const offers = directory === undefined ? [] : offersIn(directory, name, match);
    const known = new Set([identity.id, ...offers.map(({ by }) => by)]);
    for (const { present, offers: told } of this.#peers) {
      // One of this host may be named among the peers as well.
      if (present === undefined || known.has(present.id)) continue;
      offers.push(...told.filter(({ address }) => matches(match, address)));
    }
    return offers;
  }

  /** The peers that do not answer, and why not. */
  get silent(): { readonly url: string; readonly error: PatchbayError | undefined }[] {
    return this.#peers.filter((peer) => peer.present === undefined);
  }

  /** Looks anew. */
  async refresh(): Promise<void> {
    await Promise.all([
      this.#context.directory?.refresh(),
      ...this.#peers.map((peer) => peer.asked()),
    ]);
  }

  /** A bay did not answer: whoever lost a connection knows more than the directory. */
  lost(): void {
    this.#context.directory?.refresh().catch(() => {});
  }

  /** Whether a bay of this host was there and is no more. */
  hasGone(url: string): boolean {
    if (!this.#seen.has(url)) return false;
    const { directory, name } = this.#context;
    return !(directory?.others ?? []).some((entry) => entry.wires[name] === url);
  }

  /** Looks no more. */
  close(): void {
    this.#unwatch?.();
    for (const peer of this.#peers) peer.close();
  }

  #bays(wanted: Wanted): Bay[] {
    const { directory, name, identity } = this.#context;
    const bays: Bay[] = [];
    const known = new Set([identity.id]);
    for (const { wires, endpoints, module, instance, id } of directory?.others ?? []) {
      const url = wires[name];
      if (url === undefined) continue;
      this.#seen.add(url);
      if (!endpoints.some((e) => e.wires.includes(name) && wanted(e))) continue;
      known.add(id);
      bays.push({ url, module, instance });
    }
    for (const { url, present } of this.#peers) {
      // One of this host may be named among the peers as well.
      if (present === undefined || known.has(present.id)) continue;
      const { module, instance } = present;
      const there = present.endpoints.some(({ pattern: number, address }) => {
        const pattern = PATTERNS[number] || undefined;
        const role = pattern === "speaker" ? "speaker" : "server";
        return pattern !== undefined && wanted({ role, pattern, address });
      });
      if (there) bays.push({ url, module, instance });
    }
    return bays;
  }
}

/** What a peer tells, as an offer; none if its pattern is none that is known here. */
function offerOf(
  { pattern: number, address, shared, retain, bridged }: PresentEndpoint,
  by: string,
): Offer[] {
  const pattern = PATTERNS[number] || undefined;
  if (pattern === undefined) return [];
  return [{
    pattern,
    address,
    shared: shared === true,
    retain: retain === true,
    by,
    bridged: readBridged(bridged),
  }];
}

/** A bay of another host, watched. */
class RemoteBay {
  readonly url: string;
  /** What it has told; `undefined` while it is not there. */
  present: Presence | undefined = undefined;
  /** The same, as bridges want it. */
  offers: readonly Offer[] = [];
  /** Why it is not. */
  error: PatchbayError | undefined = undefined;
  readonly #transport: StreamHost;
  readonly #reader: Reader;
  readonly #moved: () => void;
  /** Settled when it tells something next, or cannot. */
  #next = Promise.withResolvers<void>();
  #complained = false;

  constructor(url: string, transport: StreamHost, moved: () => void) {
    this.url = url;
    this.#transport = transport;
    this.#moved = moved;
    this.#reader = new Reader({
      channel: () => transport.channelTo(url),
      where: url,
      path: `${PATH}WatchPresence`,
      metadata: () => baseMetadata(transport),
      ...transport.patience,
      first: () => Buffer.alloc(0),
      onOpen: () => transport.trouble(this, undefined),
      onMessage: (bytes) => this.#told(bytes),
      onLost: (error) => this.#lost(error),
    });
  }

  /** Asks once more: what has just been served may not have been told yet. */
  async asked(): Promise<void> {
    // While it is not there, the reader goes on looking; nobody waits for that more than once.
    if (this.present === undefined && this.error !== undefined) return;
    const late = Promise.withResolvers<void>();
    const timer = setTimeout(late.resolve, ASK_MS);
    if (this.present !== undefined) this.#reader.send(Buffer.alloc(0));
    await Promise.race([this.#next.promise, late.promise]);
    clearTimeout(timer);
  }

  close(): void {
    this.#transport.trouble(this, undefined);
    this.#tell();
    this.#reader.stop();
  }

  #tell(): void {
    this.#next.resolve();
    this.#next = Promise.withResolvers<void>();
  }

  #told(bytes: Buffer): void {
    const before = JSON.stringify(this.present);
    const present = messages().presence.decode(bytes);
    this.offers = present.endpoints.flatMap((endpoint) => offerOf(endpoint, present.id));
    this.present = present;
    this.error = undefined;
    this.#tell();
    if (JSON.stringify(this.present) !== before) this.#moved();
  }

  #lost(error: PatchbayError | undefined): boolean {
    this.error = error;
    this.#tell();
    const reason = `reconnecting to ${this.url}: ${error?.message ?? "it ended"}`;
    this.#transport.trouble(this, reason);
    const was = this.present;
    this.present = undefined;
    this.#transport.lost();
    if (was !== undefined) this.#moved();
    // Refused for good, or no bay at all: said once, and tried again all the same.
    if (error !== undefined && !error.retryable && !this.#complained) {
      this.#complained = true;
      this.#transport.report(error);
    }
    return true;
  }
}
