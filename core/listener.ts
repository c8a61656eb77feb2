/**
 * A listen as its user has it: how to listen, what comes, and the handle that is closed or iterated.
 *
 * @module
 */

import { PatchbayError } from "./errors.ts";
import type { ListenerEndpoint } from "./listener_endpoint.ts";
import type { Peer, Registration } from "./plugin.ts";
import type { Overflow } from "./queue.ts";

/** What a listener learns about a shout besides its value. */
export interface EventContext {
  /** The address it was shouted at. */
  readonly address: string;
  /** Counts the speaker's shouts from 1; a gap means that something was dropped on the way. */
  readonly sequence: number;
  /** The id of the bay it comes from; empty where the wire does not tell. */
  readonly origin: string;
  /** What the speaker sent along. */
  readonly headers: Readonly<Record<string, string>> | undefined;
  /** 0–255. */
  readonly priority: number;
  /** Whether this is the retained last value, not a fresh shout. */
  readonly retained: boolean;
  /** Who shouted, where the wire tells. */
  readonly peer: Peer | undefined;
}

/** What a listener is called with. What it throws is reported, and the listener goes on. */
export type ListenCallback<ValueOut> = (
  value: ValueOut,
  context: EventContext,
) => void | Promise<void>;

/** How to listen. */
export interface ListenOptions {
  /** The wires to listen on, by plugin name; default: all that are open and can. */
  via?: readonly string[];
  /** What happens to a message that finds the queue full. Default `drop_oldest`. */
  overflow?: Overflow;
  /** The most messages that wait for this listener. Default 1024. */
  maxQueue?: number;
  /** Also get the last value of each speaker that retains it. */
  retained?: boolean;
  /**
   * Only the newest value of each address counts, as for a state: one that waits gives way to a newer
   * one, which is counted as `overwritten`, and {@link Listener.latest} looks for what is newest now.
   * Where memory is shared the values go through slots there, and cost the listener nothing until it
   * looks. With overflow `drop_oldest` (the default) only. Default false.
   */
  latest?: boolean;
  /** Ends the listener. */
  signal?: AbortSignal;
  /** Call `onSilent` when nothing came for so long, in milliseconds; default: the contract's. */
  maxSilenceMs?: number;
  /** Called once for each silence. What it throws is reported. */
  onSilent?: () => void;
}

/** How to listen to bytes without a copy of them. */
export interface ViewOptions extends ListenOptions {
  /**
   * Get bytes as a {@link BytesView} on the memory in which they came: with no copy on wires that
   * have the trait `zeroCopy`, and valid until the callback returns. For values that are bare bytes,
   * and contracts without a schema; needs a callback.
   */
  views: true;
}

/**
 * A running `listen`. With a callback it only needs to be closed; without one it is iterated.
 * Leaving the loop closes it.
 *
 * @typeParam ValueOut What the value's schema gives.
 */
export class Listener<ValueOut> implements AsyncIterable<ValueOut>, AsyncDisposable {
  readonly #endpoint: ListenerEndpoint;
  readonly #registrations: Promise<readonly Registration[]>;
  readonly #closed: () => void | Promise<void>;
  #closing: Promise<void> | undefined;

  /** @ignore Made by the bay. */
  constructor(
    endpoint: ListenerEndpoint,
    registrations: Promise<readonly Registration[]>,
    closed: () => void | Promise<void>,
  ) {
    this.#endpoint = endpoint;
    this.#registrations = registrations;
    this.#closed = closed;
    endpoint.onEnd(() => void this.close());
  }

  /** The address or pattern it listens to. */
  get pattern(): string {
    return this.#endpoint.pattern;
  }

  /** How many messages wait to be read. */
  get queued(): number {
    return this.#endpoint.queued;
  }

  /**
   * The newest value that there is now, whole, with what came along with it; where the wire has slots
   * in shared memory, also one that no turn of the event loop has brought yet. What it finds is
   * delivered as usual, too. For listeners with `latest: true`.
   *
   * @returns `undefined` if nothing has come yet.
   * @throws {PatchbayError} `invalid`: the listener does not ask for `latest`.
   */
  latest(): { value: ValueOut; context: EventContext } | undefined {
    if (this.#endpoint.latest) {
      return this.#endpoint.pull() as { value: ValueOut; context: EventContext } | undefined;
    }
    throw new PatchbayError("invalid", `${this.pattern}: the listener does not keep the newest`, {
      pattern: "speaker",
      remedy: "listen with latest: true",
    });
  }

  /** How many messages were dropped on this side, for whatever reason. */
  get dropped(): number {
    return this.#endpoint.statistics.drops.values().reduce((sum, n) => sum + n, 0);
  }

  /** The values, in order. Ends when the listener is closed. */
  async *[Symbol.asyncIterator](): AsyncGenerator<ValueOut, void, void> {
    for await (const { value } of this.events()) yield value;
  }

  /** The values with what came along with them. Leaving the loop closes the listener. */
  async *events(): AsyncGenerator<{ value: ValueOut; context: EventContext }, void, void> {
    try {
      for (;;) {
        const next = await this.#endpoint.next();
        if (next.done) return;
        yield next.value as { value: ValueOut; context: EventContext };
      }
    } finally {
      await this.close();
    }
  }

  /** Ends it: speakers are told, nothing more comes. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= (async () => {
      this.#endpoint.end();
      const told = this.#closed();
      for (const registration of await this.#registrations) await registration.close();
      await told;
    })();
    return this.#closing;
  }

  /** As {@link close}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
