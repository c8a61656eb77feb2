/**
 * A way to a host by `fetch`: in pages, and on Deno where HTTP/2 is wanted.
 *
 * @module
 */

import { PatchbayError } from "@patchbay/core";
import { readBody } from "./bodies.ts";
import { chunksOf } from "./chunks.ts";
import type { Head, Incoming, Outgoing, Streaming, Way } from "./host.ts";

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
  /** Frees connections. */
  readonly close?: () => void;
}

/**
 * Makes a way by `fetch`.
 *
 * A body goes as a `Blob`: bytes would be sent a second time by Deno's fetch if a kept connection is
 * lost before the answer, which is wrong for all that may not be done twice.
 *
 * @param parts What it is made with.
 */
export function fetchWay(parts: FetchWayParts): Way {
  const { base, origin, init, translate } = parts;
  const send = async (request: Outgoing): Promise<Response> => {
    const { method, target, headers, body, signal } = request;
    const sends = method !== "GET" && method !== "HEAD";
    try {
      return await fetch(origin + target, {
        ...init,
        method,
        headers,
        ...(sends ? { body: new Blob(body === undefined ? [] : [body]) } : {}),
        signal,
        redirect: "manual",
      });
    } catch (error) {
      signal.throwIfAborted();
      throw translate(error, base);
    }
  };
  return {
    async exchange(request, maxBytes): Promise<Incoming> {
      const response = await send(request);
      try {
        const bytes = response.status === 204
          ? new Uint8Array(0)
          : await readBody(response, maxBytes, request.signal);
        return { ...headOf(response), bytes };
      } catch (error) {
        request.signal.throwIfAborted();
        throw error instanceof PatchbayError ? error : translate(error, base);
      }
    },
    async stream(request): Promise<Streaming> {
      const response = await send(request);
      return { ...headOf(response), body: chunksOf(response.body, request.signal) };
    },
    close: parts.close ?? (() => {}),
  };
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
