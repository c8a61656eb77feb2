/**
 * Speakers: the sending side of publish and subscribe.
 *
 * @module
 */

import { checkPriority } from "./callable.ts";
import type { SpeakerContract } from "./contract.ts";
import { PatchbayError } from "./errors.ts";
import type { EventContext } from "./listener.ts";
import type { Bridged } from "./offers.ts";
import type { SpeakerPort } from "./plugin.ts";
import { applySchema } from "./schema.ts";
import type { EndpointStatistics } from "./statistics.ts";

/**
 * A shout with this header takes the place of no last value: the speaker, a hub and a bridge keep the
 * one before. For what is gone when it has been heard, such as a question, at an address that retains.
 */
export const UNKEPT_HEADER = "patchbay-unkept";

/** How to open a speaker. */
export interface SpeakOptions {
  /** The wires to shout on, by plugin name; default: all that are open and can. */
  via?: readonly string[];
  /** Keep the last value for listeners that ask for it; default: the contract's. */
  retain?: boolean;
}

/** How to shout. */
export interface ShoutOptions {
  /** Sent along. */
  headers?: Readonly<Record<string, string>>;
  /** 0–255, higher first when a queue forms. Default: the contract's, or 128. */
  priority?: number;
}

const NO_OPTIONS: ShoutOptions = Object.freeze({});

/** The sending side of one speaker, as transports see it. */
export class SpeakerEndpoint {
  /** What is shouted. */
  readonly contract: SpeakerContract<never, unknown>;
  /** The id of the bay that shouts. */
  readonly origin: string;
  /** Whether the last value is kept. */
  readonly retain: boolean;
  /** The speaker's counters. */
  readonly statistics: EndpointStatistics;
  /** The number of the last shout at this address from this bay; shared by its speakers. */
  readonly counter: { sequence: number };
  /** How it came over bridges; `undefined` if this bay itself speaks. */
  bridged: Bridged | undefined = undefined;
  /** The last value with its context, if it is kept and there was one. */
  last: { readonly value: unknown; readonly context: EventContext } | undefined = undefined;

  /** @ignore Made by the bay. */
  constructor(
    contract: SpeakerContract<never, unknown>,
    origin: string,
    retain: boolean,
    counter: { sequence: number },
    statistics: EndpointStatistics,
  ) {
    this.counter = counter;
    this.contract = contract;
    this.origin = origin;
    this.retain = retain;
    this.statistics = statistics;
  }

  /** The address. */
  get address(): string {
    return this.contract.address;
  }
}

class Shout implements EventContext {
  readonly retained: boolean = false;
  readonly peer = undefined;
  readonly address: string;
  readonly sequence: number;
  readonly origin: string;
  readonly headers: Readonly<Record<string, string>> | undefined;
  readonly priority: number;

  constructor(
    address: string,
    sequence: number,
    origin: string,
    headers: Readonly<Record<string, string>> | undefined,
    priority: number,
  ) {
    this.address = address;
    this.sequence = sequence;
    this.origin = origin;
    this.headers = headers;
    this.priority = priority;
  }
}

/**
 * Shouts values at one address. Made by `await bay.speaker(contract)`.
 *
 * @typeParam ValueIn What the value's schema takes.
 */
export class Speaker<ValueIn> implements AsyncDisposable {
  readonly #endpoint: SpeakerEndpoint;
  readonly #address: string;
  readonly #origin: string;
  readonly #priority: number;
  readonly #only: SpeakerPort | undefined;
  readonly #ports: readonly SpeakerPort[];
  readonly #onClose: () => void | Promise<void>;
  readonly #bayCloses: () => boolean;
  #closing: Promise<void> | undefined;

  /** @ignore Made by the bay. */
  constructor(
    endpoint: SpeakerEndpoint,
    ports: readonly SpeakerPort[],
    onClose: () => void | Promise<void>,
    bayCloses: () => boolean,
  ) {
    this.#bayCloses = bayCloses;
    this.#endpoint = endpoint;
    this.#address = endpoint.address;
    this.#origin = endpoint.origin;
    this.#priority = endpoint.contract.priority ?? 128;
    this.#ports = ports;
    this.#only = ports.length === 1 ? ports[0] : undefined;
    this.#onClose = onClose;
  }

  /** The address it shouts at. */
  get address(): string {
    return this.#address;
  }

  /** How many listeners it has now, over all wires. */
  get listeners(): number {
    return this.#ports.reduce((sum, port) => sum + port.listeners, 0);
  }

  /**
   * Sends a value to every listener.
   *
   * Returns at once, unless a listener with overflow `block` is full: then it returns a promise
   * that resolves when the message has been taken. A speaker that goes on without awaiting it gets
   * `overloaded` when that listener's bound is reached a second time.
   *
   * @param value The value.
   * @param options Headers, priority.
   * @throws {PatchbayError} `invalid`: the value; `too_large`; `overloaded`; `closed`.
   */
  shout(value: ValueIn, options: ShoutOptions = NO_OPTIONS): void | Promise<void> {
    const endpoint = this.#endpoint;
    if (options !== NO_OPTIONS) {
      const wrong = checkPriority(options.priority);
      if (wrong !== undefined) throw wrong.with({ pattern: "speaker", address: this.#address });
    }
    const schema = endpoint.contract.value;
    if (schema !== undefined) {
      const checked = this.#check(schema, value);
      if (checked !== undefined) return checked.then(() => this.#send(value, options));
    }
    return this.#send(value, options);
  }

  /** Takes the speaker off every wire. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= (async () => {
      const told = this.#onClose();
      for (const port of this.#ports) await port.close();
      await told;
    })();
    return this.#closing;
  }

  /** As {@link close}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #check(schema: NonNullable<SpeakerContract<never, unknown>["value"]>, value: unknown) {
    try {
      const checked = applySchema(schema, value, "value");
      return checked instanceof Promise ? checked : undefined;
    } catch (error) {
      this.#endpoint.statistics.countError("invalid");
      throw PatchbayError.fromThrown(error).with({ pattern: "speaker", address: this.#address });
    }
  }

  #send(value: unknown, options: ShoutOptions): void | Promise<void> {
    if (this.#closing !== undefined) {
      // A timer of a module that is being shut down may still shout: that is counted, not thrown.
      if (this.#bayCloses()) return this.#endpoint.statistics.countDrop("closed");
      throw new PatchbayError("closed", `${this.#address}: the speaker is closed`, {
        pattern: "speaker",
        address: this.#address,
        retryable: false,
        remedy: "open it again: await bay.speaker()",
      });
    }
    const endpoint = this.#endpoint;
    const context = new Shout(
      this.#address,
      ++endpoint.counter.sequence,
      this.#origin,
      options.headers,
      options.priority ?? this.#priority,
    );
    endpoint.statistics.messagesOut++;
    if (endpoint.retain && options.headers?.[UNKEPT_HEADER] === undefined) {
      endpoint.last = { value, context };
    }
    if (this.#only !== undefined) return this.#only.shout(value, context);
    let waits: Promise<void>[] | undefined;
    let refusal: unknown;
    for (const port of this.#ports) {
      try {
        const wait = port.shout(value, context);
        if (wait !== undefined) (waits ??= []).push(wait);
      } catch (error) {
        // One wire that refuses must not cost the others their message.
        refusal = error;
      }
    }
    if (refusal !== undefined) throw refusal;
    if (waits !== undefined) return Promise.all(waits).then(() => {});
  }
}
