/**
 * Event streams, the receiving side: reads one, connects again behind what it has had, and notices
 * that nothing comes any more.
 *
 * @module
 */

import { createParser } from "npm:eventsource-parser@4.1.3";
import { PatchbayError } from "@patchbay/core";
import { type EventFacts, readFacts } from "./events.ts";
import type { Host, Outgoing, Streaming } from "./host.ts";
import { errorOf } from "./statuses.ts";
import { pause } from "./calls.ts";

/** One event, as it came. */
export interface Received {
  /** Its name; `undefined`: `message`. */
  readonly event: string | undefined;
  /** Its id, if it has one of its own. */
  readonly id: string | undefined;
  /** Its data. */
  readonly data: string;
  /** What came with it; `undefined` from a foreign stream. */
  readonly facts: EventFacts | undefined;
}

/** How a stream is read. */
export interface ReaderOptions {
  /** Where it comes from. */
  readonly host: Host;
  /** The first request: later ones are GETs of `target`. */
  readonly first?: Omit<Outgoing, "signal">;
  /** The path of the stream. */
  target: string;
  /** The headers of every request. */
  readonly headers: Readonly<Record<string, string>>;
  /** The largest event, in bytes. */
  readonly maxBytes: number;
  /** A stream that is silent for so long is dead, in milliseconds. */
  readonly silenceMs: number;
  /** The first pause before a reconnection. */
  readonly reconnectMinMs: number;
  /** The longest pause. */
  readonly reconnectMaxMs: number;
  /** The stream is open. */
  onOpen(head: Streaming): void;
  /** An event came. */
  onEvent(event: Received): void;
  /**
   * The stream ended or could not be opened.
   *
   * @returns Whether to try again.
   */
  onLost(error: PatchbayError | undefined): boolean;
}

/** Reads one event stream until it is closed. */
export class Reader {
  readonly #options: ReaderOptions;
  readonly #control = new AbortController();
  readonly #done: Promise<void>;
  /** What is sent as `Last-Event-ID`. */
  lastId = "";
  #retryMs: number;

  /** @param options How it is read. */
  constructor(options: ReaderOptions) {
    this.#options = options;
    this.#retryMs = options.reconnectMinMs;
    this.#done = this.#run();
  }

  /** Whether it is closed. */
  get closed(): boolean {
    return this.#control.signal.aborted;
  }

  /** Reads no more. Idempotent; resolves when the connection is closed. */
  async close(): Promise<void> {
    this.#control.abort();
    await this.#done;
  }

  /** Reads no more; nobody waits for the end. */
  stop(): void {
    this.#control.abort();
  }

  async #run(): Promise<void> {
    const { signal } = this.#control;
    const { first } = this.#options;
    let failures = 0;
    for (let attempt = 0; !signal.aborted; attempt++) {
      let error: PatchbayError | undefined;
      try {
        const request = attempt === 0 && first !== undefined ? first : this.#request();
        await this.#read(request, () => failures = 0);
      } catch (thrown) {
        error = PatchbayError.fromThrown(thrown);
      }
      if (signal.aborted) return;
      if (!this.#options.onLost(error)) return;
      const ceiling = Math.min(this.#options.reconnectMaxMs, this.#retryMs * 2 ** failures++);
      await pause(Math.random() * ceiling, signal);
    }
  }

  #request(): Omit<Outgoing, "signal"> {
    const { target, headers } = this.#options;
    const all: Record<string, string> = { ...headers, accept: "text/event-stream" };
    if (this.lastId !== "") all["last-event-id"] = this.lastId;
    return { method: "GET", target, headers: all, body: undefined };
  }

  async #read(request: Omit<Outgoing, "signal">, opened: () => void): Promise<void> {
    const { host, silenceMs, maxBytes } = this.#options;
    // Its own: a stream that is silent too long is given up, and tried again.
    const attempt = new AbortController();
    const outer = this.#control.signal;
    const stop = () => attempt.abort(outer.reason);
    outer.addEventListener("abort", stop, { once: true });
    if (outer.aborted) stop();
    let quietMs = 0;
    const watch = setInterval(() => {
      quietMs += silenceMs / 4;
      if (quietMs >= silenceMs) {
        attempt.abort(
          new PatchbayError("closed", `${host.base}: nothing came for ${silenceMs} ms`),
        );
      }
    }, silenceMs / 4);
    try {
      const streaming = await host.stream({ ...request, signal: attempt.signal });
      if (streaming.status !== 200 && streaming.status !== 202) {
        throw await refusal(streaming, `${request.method} ${request.target}`);
      }
      opened();
      this.#options.onOpen(streaming);
      const parse = this.#parser(maxBytes);
      const decoder = new TextDecoder();
      for await (const chunk of streaming.body) {
        quietMs = 0;
        parse(decoder.decode(chunk, { stream: true }));
        if (outer.aborted) return;
      }
    } finally {
      clearInterval(watch);
      outer.removeEventListener("abort", stop);
    }
  }

  #parser(maxBytes: number): (text: string) => void {
    let facts: EventFacts | undefined;
    const parser = createParser({
      // Base64 takes a third more; the facts stand beside it.
      maxBufferSize: Math.ceil(maxBytes * 4 / 3) + 65_536,
      onComment: (comment) => {
        const read = readFacts(comment);
        if (read === undefined) return;
        facts = read;
        if (read.failed !== undefined) throw PatchbayError.fromWire(read.failed);
      },
      onId: (id) => void (this.lastId = id),
      onRetry: (ms) => void (this.#retryMs = Math.max(this.#options.reconnectMinMs, ms)),
      onEvent: ({ event, id, data }) => {
        const mine = facts;
        facts = undefined;
        this.#options.onEvent({ event, id, data, facts: mine });
      },
    });
    return (text) => parser.feed(text);
  }
}

/** Reads the error out of an answer that is no stream. */
export async function refusal(streaming: Streaming, what: string): Promise<PatchbayError> {
  let text = "";
  const decoder = new TextDecoder();
  for await (const chunk of streaming.body) {
    text += decoder.decode(chunk, { stream: true });
    if (text.length > 65_536) break;
  }
  const error = errorOf(streaming.status, streaming.type, text, what);
  statuses.set(error, streaming.status);
  return error;
}

/** The statuses of answers that were no streams. */
const statuses = new WeakMap<PatchbayError, number>();

/**
 * The status of the answer that an error was read out of; `undefined` if there was no answer.
 *
 * @param error The error that a stream was lost with.
 */
export function refusedWith(error: PatchbayError | undefined): number | undefined {
  return error === undefined ? undefined : statuses.get(error);
}
