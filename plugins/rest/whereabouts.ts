/**
 * Who is where: the bays of this host by its directory, those of other hosts by what they tell.
 *
 * @module
 */

import {
  json,
  type ListenerEndpoint,
  PatchbayError,
  type Pattern,
  type TransportContext,
} from "@patchbay/core";
import { baseHeaders } from "./calls.ts";
import type { RestConfig } from "./config.ts";
import type { Host } from "./host.ts";
import type { StreamHost } from "./listening.ts";
import { PRESENCE_PATH, type Present, readPresent } from "./presence.ts";
import { Reader } from "./readers.ts";

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
  readonly #config: RestConfig;
  readonly #transport: StreamHost;
  readonly #moved: () => void;
  readonly #unwatch: (() => void) | undefined;
  readonly #peers: RemoteBay[] = [];
  /** URLs of bays that the directory has named once. */
  readonly #seen = new Set<string>();

  /**
   * @param context What core gave the plugin.
   * @param config The configuration.
   * @param transport How peers are asked.
   * @param moved Called when somebody has come or gone.
   */
  constructor(
    context: TransportContext,
    config: RestConfig,
    transport: StreamHost,
    moved: () => void,
  ) {
    this.#context = context;
    this.#config = config;
    this.#transport = transport;
    this.#moved = moved;
    this.#unwatch = context.directory?.watch(moved);
  }

  /** Begins to look for the peers. */
  open(): void {
    for (const url of this.#config.peers) {
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

  /** Looks anew. */
  async refresh(): Promise<void> {
    await Promise.all([
      this.#context.directory?.refresh(),
      ...this.#peers.map((peer) => peer.ask()),
    ]);
  }

  /** A bay did not answer: whoever lost a connection knows more than the directory. */
  lost(_url: string): void {
    this.#context.directory?.refresh().catch(() => {});
  }

  /** Whether a bay of this host was there and is no more. */
  hasGone(url: string): boolean {
    if (!this.#seen.has(url)) return false;
    const { directory, name } = this.#context;
    return !(directory?.others ?? []).some((entry) => entry.wires[name] === url);
  }

  /** Looks no more. */
  async close(): Promise<void> {
    this.#unwatch?.();
    await Promise.all(this.#peers.map((peer) => peer.close()));
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
      if (present.endpoints.some(wanted)) bays.push({ url, module, instance });
    }
    return bays;
  }
}

/** A bay of another host, watched. */
class RemoteBay {
  readonly url: string;
  /** What it has told; `undefined` while it is not there. */
  present: Present | undefined = undefined;
  readonly #transport: StreamHost;
  readonly #host: Host;
  readonly #reader: Reader;
  readonly #moved: () => void;
  #asking: Promise<void> | undefined;
  #complained = false;

  constructor(url: string, transport: StreamHost, moved: () => void) {
    this.url = url;
    this.#transport = transport;
    this.#moved = moved;
    this.#host = transport.hostAt(url);
    const { eventPingMs, reconnectMinMs, reconnectMaxMs } = transport.reading;
    this.#reader = new Reader({
      host: this.#host,
      target: PRESENCE_PATH,
      headers: baseHeaders(transport),
      maxBytes: transport.bodies.maxBytes,
      silenceMs: eventPingMs * 3,
      reconnectMinMs,
      reconnectMaxMs,
      onOpen: () => transport.trouble(this, undefined),
      onEvent: ({ data }) => this.#told(new TextEncoder().encode(data)),
      onLost: (error) => this.#lost(error),
    });
  }

  /** Asks once more: what has just been served may not have been told yet. */
  ask(): Promise<void> {
    return this.#asking ??= (async () => {
      const { bytes, status } = await this.#host.exchange({
        method: "GET",
        target: PRESENCE_PATH,
        headers: baseHeaders(this.#transport),
        body: undefined,
        signal: AbortSignal.timeout(ASK_MS),
      });
      if (status === 200) this.#told(bytes);
    })().catch(() => {}).finally(() => this.#asking = undefined);
  }

  async close(): Promise<void> {
    this.#transport.trouble(this, undefined);
    await this.#reader.close();
  }

  #told(bytes: Uint8Array): void {
    const before = JSON.stringify(this.present);
    this.present = readPresent(json.decode(bytes));
    if (JSON.stringify(this.present) !== before) this.#moved();
  }

  #lost(error: PatchbayError | undefined): boolean {
    const reason = `reconnecting to ${this.url}: ${error?.message ?? "it ended"}`;
    this.#transport.trouble(this, reason);
    const was = this.present;
    this.present = undefined;
    if (was !== undefined) this.#moved();
    // Refused for good, or no bay at all: said once, and tried again all the same.
    if (error !== undefined && !error.retryable && !this.#complained) {
      this.#complained = true;
      this.#transport.report(error);
    }
    return true;
  }
}
