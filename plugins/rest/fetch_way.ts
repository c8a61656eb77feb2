/**
 * A way to a host by `fetch`: in pages, and on Deno where HTTP/2 is wanted.
 *
 * @module
 */

import { PatchbayError } from "@patchbay/core";
import { readBody } from "./bodies.ts";
import { chunksOf } from "./chunks.ts";
import type { Head, Incoming, Outgoing, Streaming, Way, WayEvents } from "./host.ts";

/** What an error of `fetch` means. */
export type Translate = (error: unknown, where: string) => PatchbayError;

/** What the way is made with. */
export interface FetchWayParts {
  /** The URL in messages. */
  readonly base: string;
  /** What stands before each path. */
  readonly origin: string;
  /** Further options of each request, such as Deno's `client`. */
  readonly init?: RequestInit;
  /** What errors mean. */
  readonly translate: Translate;
  /** Who is told of its connection. */
  readonly events: WayEvents;
  /** Frees connections. */
  readonly close?: () => void;
}

/**
 * Makes a way by `fetch`.
 *
 * A body goes as a `Blob`: bytes would be sent a second time by Deno's fetch if a kept connection is
 * lost before the answer, which is wrong for all that may not be done twice.
 *
 * `fetch` tells nothing of connections: the way counts as one from the first answer until a request
 * or a body fails. What is lost while nothing is on its way is made again by `fetch` unnoticed.
 *
 * @param parts What it is made with.
 */
export function fetchWay(parts: FetchWayParts): Way {
  return new FetchWay(parts);
}

class FetchWay implements Way {
  readonly #parts: FetchWayParts;
  #connected = false;
  /** How many connections it has lost: what fails later on one of those is no further loss. */
  #lost = 0;

  constructor(parts: FetchWayParts) {
    this.#parts = parts;
  }

  async exchange(request: Outgoing, maxBytes: number): Promise<Incoming> {
    const lost = this.#lost;
    const response = await this.#send(request, lost);
    try {
      const bytes = response.status === 204
        ? new Uint8Array(0)
        : await readBody(response, maxBytes, request.signal);
      return { ...headOf(response), bytes };
    } catch (error) {
      throw this.#failed(request, error, lost);
    }
  }

  async stream(request: Outgoing): Promise<Streaming> {
    const lost = this.#lost;
    const response = await this.#send(request, lost);
    const chunks = chunksOf(response.body, request.signal);
    const failed = (error: unknown) => this.#failed(request, error, lost);
    const body = (async function* () {
      try {
        yield* chunks;
      } catch (error) {
        throw failed(error);
      }
    })();
    return { ...headOf(response), body };
  }

  close(): void {
    if (this.#connected) this.#parts.events.disconnected(false);
    this.#connected = false;
    this.#parts.close?.();
  }

  async #send(request: Outgoing, lost: number): Promise<Response> {
    const { method, target, headers, body, signal } = request;
    const { origin, init, events } = this.#parts;
    const sends = method !== "GET" && method !== "HEAD";
    let response: Response;
    try {
      response = await fetch(origin + target, {
        ...init,
        method,
        headers,
        ...(sends ? { body: new Blob(body === undefined ? [] : [body]) } : {}),
        signal,
        redirect: "manual",
      });
    } catch (error) {
      throw this.#failed(request, error, lost);
    }
    if (!this.#connected && lost === this.#lost) {
      this.#connected = true;
      events.connected();
    }
    return response;
  }

  /** What a failure is thrown as: the signal's reason, if that was it. */
  #failed({ signal }: Outgoing, error: unknown, lost: number): unknown {
    if (signal.aborted) return signal.reason;
    if (error instanceof PatchbayError) return error;
    if (this.#connected && lost === this.#lost) {
      this.#connected = false;
      this.#lost++;
      this.#parts.events.disconnected(true);
    }
    return this.#parts.translate(error, this.#parts.base);
  }
}

function headOf({ status, headers }: Response): Head {
  return {
    status,
    type: headers.get("content-type") ?? "",
    location: headers.get("location") ?? "",
    headers: () => headers,
  };
}

/**
 * What an error of a page's `fetch` means: pages are not told more.
 *
 * @param error What it threw.
 * @param where Where the request went.
 */
export function fromPageFetch(error: unknown, where: string): PatchbayError {
  const message = error instanceof Error ? error.message : String(error);
  return new PatchbayError("closed", `${where}: ${message}`, {
    remedy: "see the page's console: the server is not there, or refuses this page's origin",
    cause: error,
  });
}
