/**
 * One call that came over a service: what its handler learns, and where the outcome goes.
 *
 * @module
 */

import { HandledCall, type PatchbayError, type Peer } from "@patchbay/core";
import type { Metadata } from "./metadata.ts";

/** One call that came. */
export class InboundCall extends HandledCall {
  /** The address. */
  readonly address: string;
  /** How urgent it is. */
  readonly priority: number | undefined;
  readonly #ended: (value: unknown, error: PatchbayError | undefined) => void;

  /**
   * @param address The address.
   * @param peer Who calls.
   * @param metadata What came along.
   * @param ended Takes the outcome, once.
   */
  constructor(
    address: string,
    peer: Peer,
    metadata: Metadata,
    ended: (value: unknown, error: PatchbayError | undefined) => void,
  ) {
    super({ peer, headers: metadata.h, timeoutMs: metadata.t ?? Infinity });
    this.address = address;
    this.priority = metadata.p;
    this.#ended = ended;
  }

  protected answer(value: unknown, error: PatchbayError | undefined): void {
    this.settled = true;
    this.#ended(value, error);
  }
}
