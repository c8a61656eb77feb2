/**
 * What `authorize` has said of the peer of a session: asked once for each verb and address.
 *
 * @module
 */

import { PatchbayError } from "../errors.ts";
import type { Peer, Verb } from "../plugin.ts";
import type { InboundHost } from "./targets.ts";

/** The most verdicts of `authorize` that are kept for one connection. */
const MAX_VERDICTS = 65_536;

/** The verdicts of one connection. */
export class Verdicts {
  readonly #session: InboundHost;
  readonly #verdicts = new Map<string, Promise<void>>();

  /** @param session Whose they are. */
  constructor(session: InboundHost) {
    this.#session = session;
  }

  /**
   * Asked once for each verb and address of this connection; resolves, or rejects `forbidden`. One
   * that threw is asked again the next time.
   */
  of(address: string, verb: Verb, peer: Peer): Promise<void> {
    const { identity = "", module } = peer;
    const key = `${verb} ${address} ${module} ${identity}`;
    let verdict = this.#verdicts.get(key);
    if (verdict === undefined) {
      if (this.#verdicts.size >= MAX_VERDICTS) {
        const message = `over ${MAX_VERDICTS} addresses asked for on one connection`;
        return Promise.reject(new PatchbayError("overloaded", message));
      }
      verdict = this.#ask(address, verb, peer, key);
      verdict.catch(() => {});
      this.#verdicts.set(key, verdict);
    }
    return verdict;
  }

  async #ask(address: string, verb: Verb, peer: Peer, key: string): Promise<void> {
    const { authorize } = this.#session;
    // What is thrown at once must not be forgotten before it was remembered.
    await undefined;
    try {
      if (await authorize?.(peer, verb, address)) return;
    } catch (error) {
      this.#verdicts.delete(key);
      // What went wrong inside is nothing for a peer that has no rights yet.
      this.#session.report(PatchbayError.fromThrown(error).with({ address }));
    }
    throw new PatchbayError("forbidden", `${peer.module} may not ${verb} ${address}`, {
      address,
      transport: peer.transport,
      remedy: "let authorize() allow it",
    });
  }
}
