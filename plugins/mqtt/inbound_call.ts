/**
 * One call that came over MQTT, and the address at which it came.
 *
 * @module
 */

import {
  type CallableEndpoint,
  type CallNotes,
  HandledCall,
  type PatchbayError,
} from "@patchbay/core";
import type { QoS } from "./config.ts";
import type { Sharing } from "./bay_note.ts";
import type { Wish } from "./subscriptions.ts";

/** Where answers go. */
export interface Answers {
  /** The handler has answered. */
  succeed(call: InboundCall, value: unknown): void;
  /** It failed. */
  fail(call: InboundCall, error: PatchbayError): void;
}

/** How a call is answered. */
export interface Return {
  /** The topic; `undefined`: nobody asks for an answer. */
  readonly topic: string | undefined;
  /** What MQTT 5 calls correlation data; `undefined`: the form of MQTT 3.1.1. */
  readonly correlation: Uint8Array | undefined;
  /** The caller's bay; `undefined`: a foreign program. */
  readonly bay: string | undefined;
  /** The caller's number. */
  readonly id: string;
  /** The quality with which the call came: a foreign program is answered with the same. */
  readonly qos: QoS;
}

/** What is known of a call besides its value. */
export interface Told extends CallNotes {
  readonly to: Return;
}

/** One call that came. */
export class InboundCall extends HandledCall {
  readonly desk: ServedAddress;
  readonly endpoint: CallableEndpoint;
  readonly to: Return;
  readonly #answers: Answers;

  constructor(answers: Answers, desk: ServedAddress, told: Told) {
    super(told);
    this.#answers = answers;
    this.desk = desk;
    this.endpoint = desk.next();
    this.to = told.to;
  }

  get address(): string {
    return this.desk.address;
  }

  protected answer(value: unknown, error: PatchbayError | undefined): void {
    if (error === undefined) this.#answers.succeed(this, value);
    else this.#answers.fail(this, error);
  }
}

/** A call that waits until its address is this bay's. */
export interface HeldCall {
  /** The caller's bay and its number. */
  readonly caller: string;
  /** Takes it. */
  readonly take: () => void;
}

/** What this bay serves at one address. */
export class ServedAddress {
  readonly address: string;
  readonly sharing: Sharing;
  /** What is subscribed to for it. */
  readonly filters: readonly string[];
  /** Its part in those subscriptions. */
  readonly wish: Wish = { qos: 0 };
  /** A topic of the user's own where it is called, too. */
  native: { readonly topic: string; readonly wish: Wish } | undefined = undefined;
  readonly endpoints: CallableEndpoint[] = [];
  /** What came while it was not known yet whether the address is this bay's. */
  held: HeldCall[] | undefined = [];
  /** Resolves when it can be called. */
  ready: Promise<void> = Promise.resolve();
  #turn = 0;

  constructor(address: string, sharing: Sharing, filters: readonly string[]) {
    this.address = address;
    this.sharing = sharing;
    this.filters = filters;
  }

  /** The endpoint whose turn it is. */
  next(): CallableEndpoint {
    const { length } = this.endpoints;
    if (length > 1) this.#turn = (this.#turn + 1) % length;
    else this.#turn = 0;
    return this.endpoints[this.#turn];
  }
}
