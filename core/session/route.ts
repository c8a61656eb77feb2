/**
 * An address that the peer of a session has bound to a number.
 *
 * @module
 */

import { checkAddress } from "../address.ts";
import { PatchbayError } from "../errors.ts";
import type { Peer } from "../plugin.ts";
import type { Origin } from "./passing.ts";
import type { CallTarget, JobTarget } from "./targets.ts";

/** An address that the peer has bound to a number, and what it leads to. */
export class InboundRoute {
  /** The address. */
  readonly address: string;
  /** The host's version when the lookups were made. */
  version = -1;
  /** What is served there. */
  callable: CallTarget | undefined = undefined;
  /** What is performed there. */
  job: JobTarget | undefined = undefined;
  /** The bay whose messages a hub relays under this number. */
  readonly origin: Origin | undefined;
  #peer: Peer | undefined = undefined;

  /**
   * @param address The address.
   * @param origin The bay whose messages are relayed, if they are.
   */
  constructor(address: string, origin?: Origin) {
    this.address = address;
    this.origin = origin;
  }

  /**
   * Whose messages come under this number.
   *
   * @param direct Who is on the other side of the connection.
   */
  peer(direct: Peer): Peer {
    const { origin } = this;
    if (origin === undefined) return direct;
    return this.#peer ??= {
      module: origin.module,
      transport: direct.transport,
      identity: origin.identity,
      local: false,
    };
  }
}

/**
 * Checks an address that a peer wants to bind.
 *
 * @param address What it sent.
 * @param origin The bay whose messages it relays, if this side trusts it to say so.
 * @throws {PatchbayError} `invalid`.
 */
export function readRoute(address: unknown, origin?: unknown): InboundRoute {
  return new InboundRoute(checkAddress(address as string), readOrigin(origin));
}

function readOrigin(origin: unknown): Origin | undefined {
  if (typeof origin !== "object" || origin === null) return undefined;
  const { id, module, identity } = origin as Record<string, unknown>;
  if (typeof id !== "string" || typeof module !== "string") {
    throw new PatchbayError("protocol", "a route's origin lacks its id or module");
  }
  return { id, module, identity: typeof identity === "string" ? identity : undefined };
}
