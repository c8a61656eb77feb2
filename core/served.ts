/**
 * What a bay serves: the handle that takes it off the wires, and who has which address.
 *
 * @module
 */

import { PatchbayError, type Pattern } from "./errors.ts";

/** Something served, spoken or performed, until it is closed. */
export class Served implements AsyncDisposable {
  /** The address. */
  readonly address: string;
  readonly #close: () => Promise<void>;
  #closing: Promise<void> | undefined;

  /** @ignore Made by the bay. */
  constructor(address: string, close: () => Promise<void>) {
    this.address = address;
    this.#close = close;
  }

  /** Takes it off every wire, and lets what runs finish (5 s at most). Idempotent. */
  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  /** As {@link close}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** Which addresses one bay serves. */
export class Claims {
  readonly #held = new Map<string, { shared: boolean; count: number }>();

  /**
   * Notes that this bay serves an address.
   *
   * @param pattern Callable or job.
   * @param address The address.
   * @param shared Whether several may.
   * @throws {PatchbayError} `unavailable` if it does already, and not both are shared.
   */
  claim(pattern: Pattern, address: string, shared: boolean): void {
    const key = `${pattern} ${address}`;
    const held = this.#held.get(key);
    if (held === undefined) return void this.#held.set(key, { shared, count: 1 });
    if (!held.shared || !shared) {
      throw new PatchbayError("unavailable", `${address} is already served by this module`, {
        address,
        retryable: false,
        remedy: 'close the first server, or serve both with sharing: "shared"',
      });
    }
    held.count++;
  }

  /**
   * Notes that it does no longer.
   *
   * @param pattern Callable or job.
   * @param address The address.
   */
  release(pattern: Pattern, address: string): void {
    const key = `${pattern} ${address}`;
    const held = this.#held.get(key);
    if (held !== undefined && --held.count === 0) this.#held.delete(key);
  }
}
