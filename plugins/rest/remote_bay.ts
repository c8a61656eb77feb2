/**
 * A bay of another host: what it tells of itself, as long as it is there.
 *
 * @module
 */

import { json, type PatchbayError, type ToldPeer } from "@patchbay/core";
import { baseHeaders } from "./calls.ts";
import type { Host } from "./host.ts";
import type { StreamHost } from "./listening.ts";
import { PRESENCE_PATH, type Present, readPresent } from "./presence.ts";
import { Reader } from "./readers.ts";

/** How long a peer may take to say what is there, in milliseconds. */
const ASK_MS = 800;

/** A bay of another host, as it tells of itself. */
export class RemoteBay implements ToldPeer {
  /** As {@link ToldPeer.url}. */
  readonly url: string;
  /** As {@link ToldPeer.present}. */
  present: Present | undefined = undefined;
  readonly #transport: StreamHost;
  readonly #host: Host;
  readonly #reader: Reader;
  readonly #moved: () => void;
  #asking: Promise<void> | undefined;
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

  /** As {@link ToldPeer.ask}: what has just been served may not have been told yet. */
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

  /** As {@link ToldPeer.close}. */
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
