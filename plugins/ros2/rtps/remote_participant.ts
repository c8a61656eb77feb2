/**
 * Another participant: where it is, until when it is taken for alive, what it has announced.
 *
 * @module
 */

import type { EndpointData, ParticipantData } from "./discovery_data.ts";
import type { Network } from "./network.ts";
import type { Destination } from "./outbox.ts";
import type { Address } from "./socket.ts";
import type { Alarm } from "./timers.ts";

/** One participant that was found. */
export class RemoteParticipant {
  readonly #network: Network;
  readonly #from: string;
  readonly #destinations = new Map<string, Destination>();
  /** What it says of itself. */
  data: ParticipantData;
  /** Where discovery reaches it. */
  readonly metatraffic: Destination;
  /** Rings when it is taken for dead. */
  readonly lease: Alarm;
  /** Its endpoints, by GUID. */
  readonly endpoints: Map<string, EndpointData> = new Map();

  /**
   * @param network What it is reached through.
   * @param data What it says of itself.
   * @param from Where its announcement came from.
   * @param metatraffic Where discovery reaches it.
   * @param lease Rings when it is taken for dead.
   */
  constructor(
    network: Network,
    data: ParticipantData,
    from: string,
    metatraffic: Destination,
    lease: Alarm,
  ) {
    this.#network = network;
    this.data = data;
    this.#from = from;
    this.metatraffic = metatraffic;
    this.lease = lease;
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
    if (found !== undefined) this.#destinations.set(key, found);
    return found;
  }
}

function text(addresses: readonly Address[]): string {
  return addresses.map(({ hostname, port }) => `${hostname}:${port}`).join();
}
