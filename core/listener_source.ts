/**
 * One publisher at one listener: what it delivers, what of it waits, and how it is held back.
 *
 * @module
 */

import { PatchbayError } from "./errors.ts";
import type { EventContext } from "./listener.ts";
import type { ListenerEndpoint } from "./listener_endpoint.ts";
import { Fifo } from "./queue.ts";

/** One publisher's connection to a listener: the port delivers through it. */
export class ListenerSource {
  /** Set by the port: `count` messages have left the queue, the publisher may send as many more. */
  onConsumed: ((count: number) => void) | undefined = undefined;
  /** Set by the port: delivers at once what is newer than what was delivered last. */
  onPull: (() => void) | undefined = undefined;
  /**
   * Set by the port: the listener is done with the message that was delivered with this context. Its
   * callback has returned or rejected, its reader has asked for the next one, or it was dropped.
   * Not called for what still waits when the listener closes.
   */
  onHandled: ((context: EventContext) => void) | undefined = undefined;
  /** How many messages of this source wait. */
  waiting = 0;
  readonly #endpoint: ListenerEndpoint;
  /** Messages of a speaker in this process that is held back. */
  readonly #held = new Fifo<Held>();

  /** @ignore Made by the endpoint. */
  constructor(endpoint: ListenerEndpoint) {
    this.#endpoint = endpoint;
  }

  /** Whether the listener can take no more from this source. */
  get full(): boolean {
    return this.waiting >= this.#endpoint.maxQueue;
  }

  /**
   * Delivers one message.
   *
   * @param value The decoded value.
   * @param context What came with it.
   */
  deliver(value: unknown, context: EventContext): void {
    this.#endpoint.deliver(value, context, this);
  }

  /**
   * Delivers one message of a speaker in this process. With overflow `block` and a full queue it
   * answers with a promise that resolves when the message has been taken.
   *
   * @param value The value.
   * @param context What came with it.
   * @throws {PatchbayError} `overloaded`: the speaker did not await, and twice the bound is full.
   */
  offer(value: unknown, context: EventContext): void | Promise<void> {
    const endpoint = this.#endpoint;
    if (endpoint.overflow !== "block" || (!this.full && this.#held.length === 0)) {
      return endpoint.deliver(value, context, this);
    }
    if (endpoint.ended) return;
    if (this.#held.length >= endpoint.maxQueue) {
      throw new PatchbayError(
        "overloaded",
        `${context.address}: a blocking listener is full, and ${this.#held.length} shouts wait`,
        {
          pattern: "speaker",
          address: context.address,
          details: { maxQueue: endpoint.maxQueue },
          remedy: "await speaker.shout(), or listen with another overflow policy",
        },
      );
    }
    return new Promise((resolve) => this.#held.push({ value, context, resolve }));
  }

  /** @ignore A message of this source has left the queue. */
  released(): void {
    const held = this.#held.shift();
    if (held !== undefined) {
      this.#endpoint.deliver(held.value, held.context, this);
      held.resolve();
    } else this.onConsumed?.(1);
  }

  /** @ignore The listener has ended: nobody is held back any longer. */
  release(): void {
    for (let held = this.#held.shift(); held !== undefined; held = this.#held.shift()) {
      this.#endpoint.statistics.countDrop("closed");
      held.resolve();
    }
  }

  /** The publisher is gone. */
  close(): void {
    this.release();
    this.#endpoint.detach(this);
  }
}

interface Held {
  readonly value: unknown;
  readonly context: EventContext;
  readonly resolve: () => void;
}
