/**
 * One host that requests go to: how many at once, who waits, and what an answer comes to. Nothing
 * here needs Deno.
 *
 * @module
 */

import { PatchbayError } from "@patchbay/core";
import { readBody } from "./bodies.ts";

/** A way to a host. */
export interface Way {
  /** Sends a request; `target` begins with `/`. */
  fetch(target: string, init: RequestInit): Promise<Response>;
  /** Frees its connections. */
  close(): void;
}

/** Makes a way to the host of a URL. */
export type Connect = (base: string) => Way;

/** What an error of {@link Way.fetch} means. */
export type Translate = (error: unknown, where: string) => PatchbayError;

/** A request on its way out. */
export interface Outgoing {
  /** The method. */
  readonly method: string;
  /** The path and query. */
  readonly target: string;
  /** The headers. */
  readonly headers: Record<string, string>;
  /** The body. */
  readonly body: Uint8Array<ArrayBuffer> | undefined;
  /** Gives up. */
  readonly signal: AbortSignal;
  /** 0–255, higher first where some wait. */
  readonly priority?: number;
}

/** An answer whose body has been read. */
export interface Incoming {
  /** The status. */
  readonly status: number;
  /** The headers. */
  readonly headers: Headers;
  /** The media type; empty if there is none. */
  readonly type: string;
  /** The body. */
  readonly bytes: Uint8Array<ArrayBuffer>;
}

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
  /** Translates errors. */
  readonly translate: Translate;
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

  /**
   * @param base Its URL.
   * @param options What hosts share.
   */
  constructor(base: string, options: HostOptions) {
    this.base = base;
    this.#options = options;
    this.#way = options.connect(base);
  }

  /** How many requests are open. */
  get open(): number {
    return this.#open;
  }

  /**
   * Sends a request and reads the whole answer.
   *
   * @param request The request.
   * @throws {PatchbayError} `unavailable`, `closed`, `too_large`, `overloaded`; or the signal's reason.
   */
  async exchange(request: Outgoing): Promise<Incoming> {
    if (this.#open >= this.#options.maxSockets) await this.#turn(request);
    else this.#open++;
    try {
      const response = await this.#way.fetch(request.target, {
        method: request.method,
        headers: request.headers,
        body: request.body,
        signal: request.signal,
        redirect: "manual",
      });
      const { status, headers } = response;
      if (status === 204) {
        return { status, headers, type: "", bytes: NO_BYTES };
      }
      const bytes = await readBody(response, this.#options.maxBytes);
      return { status, headers, type: headers.get("content-type") ?? "", bytes };
    } catch (error) {
      request.signal.throwIfAborted();
      throw this.#options.translate(error, this.base);
    } finally {
      this.#leave();
    }
  }

  /**
   * Opens a stream: it counts against no limit, for it may be open for days.
   *
   * @param request The request.
   */
  async stream(request: Outgoing): Promise<Response> {
    try {
      return await this.#way.fetch(request.target, {
        method: request.method,
        headers: request.headers,
        body: request.body,
        signal: request.signal,
        redirect: "manual",
      });
    } catch (error) {
      request.signal.throwIfAborted();
      throw this.#options.translate(error, this.base);
    }
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

const NO_BYTES = new Uint8Array(0);
