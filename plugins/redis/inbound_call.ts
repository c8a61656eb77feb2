/**
 * One call that came over Redis, and the address at which it came.
 *
 * @module
 */

import {
  type CallableEndpoint,
  type CallNotes,
  HandledCall,
  type PatchbayError,
} from "@patchbay/core";

/** Where answers go. */
export interface Answers {
  /** The handler has answered. */
  succeed(call: InboundCall, value: unknown): void;
  /** It failed. */
  fail(call: InboundCall, error: PatchbayError): void;
}

/** What is known of a call besides its value. */
export interface Told extends CallNotes {
  /** The caller's number for it. */
  readonly id: string;
  /** The stream that takes the reply. */
  readonly reply: string | undefined;
  /** The caller's bay; `undefined`: a foreign program. */
  readonly origin: string | undefined;
}

/** One call that came. */
export class InboundCall extends HandledCall {
  readonly desk: ServedAddress;
  readonly endpoint: CallableEndpoint;
  readonly entry: string;
  /** As {@link Told.id}. */
  readonly id: string;
  /** As {@link Told.reply}. */
  readonly reply: string | undefined;
  /** As {@link Told.origin}. */
  readonly origin: string | undefined;
  readonly #answers: Answers;

  constructor(answers: Answers, desk: ServedAddress, entry: string, told: Told) {
    super(told);
    this.#answers = answers;
    this.desk = desk;
    this.endpoint = desk.next();
    this.entry = entry;
    this.id = told.id;
    this.reply = told.reply;
    this.origin = told.origin;
  }

  get address(): string {
    return this.desk.address;
  }

  protected answer(value: unknown, error: PatchbayError | undefined): void {
    if (error === undefined) this.#answers.succeed(this, value);
    else this.#answers.fail(this, error);
  }
}

/** What this bay serves at one address. */
export class ServedAddress {
  readonly address: string;
  readonly key: string;
  readonly endpoints: CallableEndpoint[] = [];
  shared = false;
  /** Entries that came and are not acknowledged yet. */
  readonly open = new Set<string>();
  #turn = 0;

  constructor(address: string, key: string) {
    this.address = address;
    this.key = key;
  }

  /** The endpoint whose turn it is. */
  next(): CallableEndpoint {
    this.#turn = (this.#turn + 1) % this.endpoints.length;
    return this.endpoints[this.#turn];
  }
}
