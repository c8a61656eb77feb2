/**
 * Another participant: where it is, until when it is taken for alive, what it has announced.
 *
 * @module
 */

import { Allowance } from "./allowance.ts";
import type { EndpointData, ParticipantData } from "./discovery_data.ts";
import type { Network } from "./network.ts";
import type { Destination } from "./outbox.ts";
import type { Address } from "./socket.ts";
import type { Lease } from "./timers.ts";

/** How many places of one participant are remembered. */
const MAX_DESTINATIONS = 64;

/** One participant that was found. */
export class RemoteParticipant {
  readonly #network: Network;
  readonly #from: string;
  readonly #destinations = new Map<string, Destination>();
  readonly #repairs = new Allowance();
  /** What it says of itself. */
  data: ParticipantData;
  /** Where discovery reaches it. */
  readonly metatraffic: Destination;
  /** Until when it is taken for alive. */
  readonly lease: Lease;
  /** Its endpoints, by GUID. */
  readonly endpoints: Map<string, EndpointData> = new Map();

  /**
   * @param network What it is reached through.
   * @param data What it says of itself.
   * @param from Where its announcement came from.
   * @param metatraffic Where discovery reaches it.
   * @param lease Until when it is taken for alive.
   */
  constructor(
    network: Network,
    data: ParticipantData,
    from: string,
    metatraffic: Destination,
    lease: Lease,
  ) {
    this.#network = network;
    this.data = data;
    this.#from = from;
    this.metatraffic = metatraffic;
    metatraffic.repairs = this.#repairs;
    this.lease = lease;
  }

  /** Whether it is on this machine. */
  get isHere(): boolean {
    return this.#network.isHere(this.#from);
  }

  /** Whether an address is one it speaks from: where it was heard first, or those it names. */
  speaksFrom(hostname: string): boolean {
    if (hostname === this.#from || this.isHere && this.#network.isHere(hostname)) return true;
    const { metatraffic, unicast } = this.data;
    const names = (each: Address) => each.hostname === hostname;
    return metatraffic.some(names) || unicast.some(names);
  }

  /** Whether another announcement says that it is somewhere else. */
  hasMoved(data: ParticipantData): boolean {
    return text(data.metatraffic) !== text(this.data.metatraffic) ||
      text(data.unicast) !== text(this.data.unicast);
  }

  /** Where an endpoint of it is reached; `undefined` if nowhere. */
  destination(endpoint: EndpointData): Destination | undefined {
    const addresses = endpoint.unicast.length > 0 ? endpoint.unicast : this.data.unicast;
    const key = text(addresses);
    const known = this.#destinations.get(key);
    if (known !== undefined) return known;
    const found = this.#network.destination(addresses, this.#from, this.data.prefix, "user");
    if (found === undefined) return undefined;
    found.repairs = this.#repairs;
    // An endpoint that is announced anew, at another place each time, must not fill it.
    for (const oldest of this.#destinations.keys()) {
      if (this.#destinations.size < MAX_DESTINATIONS) break;
      this.#destinations.delete(oldest);
    }
    this.#destinations.set(key, found);
    return found;
  }
}

function text(addresses: readonly Address[]): string {
  return addresses.map(({ hostname, port }) => `${hostname}:${port}`).join();
}
