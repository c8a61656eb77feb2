/**
 * One host that requests go to: how many at once, who waits, and what its answers come as. Nothing
 * here needs Deno.
 *
 * @module
 */

import { PatchbayError } from "@patchbay/core";

/** A request on its way out. */
export interface Outgoing {
  /** The method. */
  readonly method: string;
  /** The path and query; begins with `/`. */
  readonly target: string;
  /** The headers. */
  readonly headers: Record<string, string>;
  /** The body; a text is ASCII. */
  readonly body: string | Uint8Array<ArrayBuffer> | undefined;
  /** Gives up. */
  readonly signal: AbortSignal;
  /** 0–255, higher first where some wait. */
  readonly priority?: number;
}

/** The head of an answer. */
export interface Head {
  /** The status. */
  readonly status: number;
  /** The media type; empty if there is none. */
  readonly type: string;
  /** Where it points to; empty if nowhere. */
  readonly location: string;
  /** All headers. */
  headers(): Headers;
}

/** An answer whose body has been read. */
export interface Incoming extends Head {
  /** The body. */
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** An answer whose body is read as it comes. */
export interface Streaming extends Head {
  /** The body; leaving it closes the connection. */
  readonly body: AsyncIterable<Uint8Array>;
}

/** A way to a host. */
export interface Way {
  /**
   * Sends a request, once, and reads the whole answer.
   *
   * @param request The request.
   * @param maxBytes The largest body of the answer.
   * @throws {PatchbayError} `unavailable`, `closed`, `too_large`; or the signal's reason.
   */
  exchange(request: Outgoing, maxBytes: number): Promise<Incoming>;
  /**
   * Sends a request, once, and leaves the body to be read.
   *
   * @param request The request.
   * @throws {PatchbayError} `unavailable`, `closed`; or the signal's reason.
   */
  stream(request: Outgoing): Promise<Streaming>;
  /** Frees its connections. */
  close(): void;
}

/** What a way tells. */
export interface WayEvents {
  /** A connection was made, and is now there. */
  connected(): void;
  /** A connection is gone; `lost`: and not because this side closed it. */
  disconnected(lost: boolean): void;
}

/** Makes a way to the host of a URL. */
export type Connect = (base: string, events: WayEvents) => Way;

/** How many requests may wait for a connection. */
const MAX_WAITING = 65_536;

/** What hosts share. */
export interface HostOptions {
  /** The most requests at once. */
  readonly maxSockets: number;
  /** The largest body of an answer, in bytes. */
  readonly maxBytes: number;
  /** Makes ways. */
  readonly connect: Connect;
  /** A connection was made: again, after a loss, or for the first time. */
  readonly onConnected: (again: boolean) => void;
  /** A connection is gone. */
  readonly onDisconnected: () => void;
}

/** One host. */
export class Host {
  /** Its URL. */
  readonly base: string;
  readonly #options: HostOptions;
  readonly #way: Way;
  #open = 0;
  /** Who waits, by urgency: 192–255, 128–191, 64–127, 0–63. */
  readonly #waiting: (() => void)[][] = [[], [], [], []];
  #waits = 0;
  /** Whether a connection was lost since the last was made. */
  #lost = false;

  /**
   * @param base Its URL.
   * @param options What hosts share.
   */
  constructor(base: string, options: HostOptions) {
    this.base = base;
    this.#options = options;
    this.#way = options.connect(base, {
      connected: () => {
        options.onConnected(this.#lost);
        this.#lost = false;
      },
      disconnected: (lost) => {
        options.onDisconnected();
        if (lost) this.#lost = true;
      },
    });
  }

  /** How many requests are open. */
  get open(): number {
    return this.#open;
  }

  /** As {@link Way.exchange}; waits for its turn where too many are open. */
  async exchange(request: Outgoing): Promise<Incoming> {
    if (this.#open >= this.#options.maxSockets) await this.#turn(request);
    else this.#open++;
    try {
      return await this.#way.exchange(request, this.#options.maxBytes);
    } finally {
      this.#leave();
    }
  }

  /** As {@link Way.stream}: it counts against no limit, for it may be open for days. */
  stream(request: Outgoing): Promise<Streaming> {
    return this.#way.stream(request);
  }

  /** Frees its connections. */
  close(): void {
    this.#way.close();
  }

  #turn({ priority = 128, signal }: Outgoing): Promise<void> {
    if (this.#waits >= MAX_WAITING) {
      throw new PatchbayError("overloaded", `${this.base}: ${MAX_WAITING} requests wait already`, {
        details: { notExecuted: true, maxWaiting: MAX_WAITING },
        remedy: "call less at once, or raise maxSockets",
      });
    }
    signal.throwIfAborted();
    const lane = this.#waiting[3 - (priority >> 6)];
    this.#waits++;
    return new Promise((resolve, reject) => {
      const go = () => {
        this.#waits--;
        signal.removeEventListener("abort", stop);
        resolve();
      };
      const stop = () => {
        this.#waits--;
        lane.splice(lane.indexOf(go), 1);
        reject(signal.reason);
      };
      lane.push(go);
      signal.addEventListener("abort", stop, { once: true });
    });
  }

  /** A place is free: whoever waits takes it over. */
  #leave(): void {
    if (this.#waits > 0) {
      for (const lane of this.#waiting) {
        const next = lane.shift();
        if (next !== undefined) return next();
      }
    }
    this.#open--;
  }
}
