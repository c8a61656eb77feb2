/**
 * A bay of another host: what it tells of itself, as long as it is there.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { type PatchbayError, readBridged, type ToldBay, type ToldPeer } from "@patchbay/core";
import { baseMetadata } from "./calls_out.ts";
import type { StreamHost } from "./listening.ts";
import { messages, PATH, PATTERNS, type Presence } from "./messages.ts";
import { Reader } from "./reader.ts";

/** How long a peer may take to say what is there, in milliseconds. */
const ASK_MS = 800;

/** What a peer tells, without what has a pattern that is not known here. */
function toldBy({ module, instance, id, endpoints }: Presence): ToldBay {
  const known = endpoints.flatMap(({ pattern: number, address, shared, retain, bridged }) => {
    const pattern = PATTERNS[number] || undefined;
    if (pattern === undefined) return [];
    return [{ pattern, address, shared, retain, bridged: readBridged(bridged) }];
  });
  return { module, instance, id, endpoints: known };
}

/** A bay of another host, as it tells of itself. */
export class RemoteBay implements ToldPeer {
  /** As {@link ToldPeer.url}. */
  readonly url: string;
  /** As {@link ToldPeer.present}. */
  present: ToldBay | undefined = undefined;
  /** Why it is not. */
  error: PatchbayError | undefined = undefined;
  readonly #transport: StreamHost;
  readonly #reader: Reader;
  readonly #moved: () => void;
  /** Settled when it tells something next, or cannot. */
  #next = Promise.withResolvers<void>();
  #complained = false;

  /**
   * @param url Its URL.
   * @param transport How it is asked.
   * @param moved Called when it tells something new.
   */
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

  /** As {@link ToldPeer.ask}: what has just been served may not have been told yet. */
  async ask(): Promise<void> {
    // While it is not there, the reader goes on looking; nobody waits for that more than once.
    if (this.present === undefined && this.error !== undefined) return;
    const late = Promise.withResolvers<void>();
    const timer = setTimeout(late.resolve, ASK_MS);
    if (this.present !== undefined) this.#reader.send(Buffer.alloc(0));
    await Promise.race([this.#next.promise, late.promise]);
    clearTimeout(timer);
  }

  /** As {@link ToldPeer.close}. */
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
    this.present = toldBy(messages().presence.decode(bytes));
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
