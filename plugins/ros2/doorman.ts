/**
 * Asks once for each other side, verb and address whether it may.
 *
 * @module
 */

import { PatchbayError, type Peer, type TransportContext, type Verb } from "@patchbay/core";

/** The most verdicts that are kept. */
const MAX_VERDICTS = 16_384;

/** Keeps the verdicts of `authorize`. */
export class Doorman {
  readonly #context: TransportContext;
  readonly #verdicts = new Map<string, boolean>();

  constructor(context: TransportContext) {
    this.#context = context;
  }

  /**
   * Whether somebody may do something. Nothing proves on this wire who somebody is.
   *
   * @param peer Who.
   * @param verb What.
   * @param address Where.
   */
  ask(peer: Peer, verb: Verb, address: string): boolean | Promise<boolean> {
    const { authorize } = this.#context;
    if (authorize === undefined) return true;
    const key = `${peer.module} ${verb} ${address}`;
    const known = this.#verdicts.get(key);
    if (known !== undefined) return known;
    const keep = (verdict: boolean): boolean => {
      if (this.#verdicts.size >= MAX_VERDICTS) this.#verdicts.clear();
      this.#verdicts.set(key, verdict);
      return verdict;
    };
    const failed = (error: unknown): boolean => {
      this.#context.report(PatchbayError.fromThrown(error));
      return false;
    };
    try {
      const verdict = authorize(peer, verb, address);
      return verdict instanceof Promise ? verdict.then(keep, failed) : keep(verdict);
    } catch (error) {
      return failed(error);
    }
  }

  /** The error for who may not. */
  refusal(peer: Peer, verb: Verb, address: string): PatchbayError {
    return new PatchbayError("forbidden", `${peer.module} may not ${verb} ${address}`, {
      address,
      remedy: "let authorize() allow it",
    });
  }
}
