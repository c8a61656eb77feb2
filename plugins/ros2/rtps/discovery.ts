/**
 * Finds other participants and is found by them (SPDP, 8.5.3): announcements to the multicast group
 * and to static peers, leases, goodbyes.
 *
 * @module
 */

import type { TimerWheel } from "@patchbay/core";
import { Entity, Pid, Port } from "./constants.ts";
import { type ParticipantData, readParticipant, writeParticipant } from "./discovery_data.ts";
import { unhex } from "./guid.ts";
import type { DataSubmessage, Incoming } from "./message_reader.ts";
import type { Network } from "./network.ts";
import { type Destination, statusInfo } from "./outbox.ts";
import { ParameterWriter } from "./parameters.ts";
import { RemoteParticipant } from "./remote_participant.ts";
import { Alarm } from "./timers.ts";
import { Status } from "./constants.ts";

/** What discovery is told and tells. */
export interface DiscoverySetup {
  readonly network: Network;
  readonly wheel: TimerWheel;
  /** What this participant says of itself. */
  readonly data: () => ParticipantData;
  readonly domain: number;
  /** Addresses that are told of this participant without having been heard of. */
  readonly peers: readonly { readonly hostname: string; readonly port?: number }[];
  readonly announceMs: number;
  readonly maxParticipants: number;
  readonly onFound: (participant: RemoteParticipant) => void;
  readonly onChanged: (participant: RemoteParticipant) => void;
  readonly onLost: (participant: RemoteParticipant, why: "goodbye" | "expired" | "moved") => void;
  readonly count: (reason: string) => void;
}

/** How soon the second announcement follows the first; then twice as late each time. */
const FIRST_PAUSE_MS = 50;
/** How many participants a static peer's machine is expected to have, where no port is named. */
const PEER_PARTICIPANTS = 10;

/** The participants that are known. */
export class Discovery {
  readonly #setup: DiscoverySetup;
  readonly #known = new Map<string, RemoteParticipant>();
  readonly #group: Destination[];
  readonly #peers: Destination[];
  readonly #alarm: Alarm;
  #pauseMs = FIRST_PAUSE_MS;
  #sequence = 1;

  /** @param setup What it is told and tells. */
  constructor(setup: DiscoverySetup) {
    this.#setup = setup;
    const { network } = setup;
    this.#group = network.groupDestinations();
    this.#peers = setup.peers.flatMap(({ hostname, port }) => {
      const base = Port.base + Port.perDomain * setup.domain + Port.metatrafficUnicast;
      const ports = port === undefined
        ? Array.from({ length: PEER_PARTICIPANTS }, (_, i) => base + Port.perParticipant * i)
        : [port];
      return ports.flatMap((each) => {
        // A peer at a loopback address is here: else nobody could be meant.
        const address = { hostname, port: each };
        return network.destination([address], hostname, undefined, "metatraffic") ?? [];
      });
    });
    this.#alarm = new Alarm(setup.wheel, () => this.#announceAgain());
  }

  /** The participants that are known. */
  get participants(): IterableIterator<RemoteParticipant> {
    return this.#known.values();
  }

  /** A participant by its prefix. */
  get(prefix: string): RemoteParticipant | undefined {
    return this.#known.get(prefix);
  }

  /** Begins to announce. */
  start(): void {
    this.#announceAgain();
  }

  /** Says at once what has changed. */
  changed(): void {
    this.#sequence++;
    this.#announce();
  }

  #announceAgain(): void {
    this.#announce();
    this.#alarm.arm(this.#pauseMs);
    this.#pauseMs = Math.min(2 * this.#pauseMs, this.#setup.announceMs);
  }

  #announce(): void {
    const payload = writeParticipant(this.#setup.data(), this.#setup.network.group);
    const now = Date.now();
    const to = [...this.#group, ...this.#peers];
    // Who was found by other means than the group hears of this one by the same.
    if (this.#group.length === 0) {
      for (const each of this.#known.values()) to.push(each.metatraffic);
    }
    for (const destination of to) this.#send(destination, payload, now);
  }

  #send(destination: Destination, payload: Uint8Array, now: number): void {
    const { spdpReader, spdpWriter } = Entity;
    destination.data(spdpReader, spdpWriter, this.#sequence, now, payload, false, undefined);
  }

  /** An announcement or a goodbye has come. */
  receive(context: Incoming, data: DataSubmessage): void {
    const { network, data: own, domain, count } = this.#setup;
    if ((data.status & (Status.disposed | Status.unregistered)) !== 0) {
      const gone = this.#known.get(context.prefix);
      if (gone !== undefined) this.#remove(gone, "goodbye");
      return;
    }
    if (data.holds !== "data") return;
    const payload = context.bytes.subarray(data.at, data.end);
    const said = readParticipant(payload, context.vendor);
    if (said === undefined) return count("malformed participant");
    if (said.prefix === own().prefix) return;
    if (said.prefix !== context.prefix) return count("participant with another's prefix");
    if (said.domain !== undefined && said.domain !== domain) return;
    const known = this.#known.get(said.prefix);
    if (known !== undefined) {
      if (!known.hasMoved(said)) {
        const before = known.data;
        known.data = said;
        known.lease.arm(said.leaseMs);
        if (!sameBytes(before.userData, said.userData) || before.name !== said.name) {
          this.#setup.onChanged(known);
        }
        return;
      }
      this.#remove(known, "moved");
    }
    if (this.#known.size >= this.#setup.maxParticipants) return count("too many participants");
    const from = context.from.hostname;
    const metatraffic = network.destination(said.metatraffic, from, said.prefix, "metatraffic");
    if (metatraffic === undefined) return count("participant that cannot be reached");
    const lease = new Alarm(this.#setup.wheel, () => this.#remove(found, "expired"));
    const found: RemoteParticipant = new RemoteParticipant(network, said, from, metatraffic, lease);
    this.#known.set(said.prefix, found);
    lease.arm(said.leaseMs);
    // It may have come after the last announcement: it need not wait for the next.
    this.#send(metatraffic, writeParticipant(own(), network.group), Date.now());
    this.#setup.onFound(found);
  }

  #remove(participant: RemoteParticipant, why: "goodbye" | "expired" | "moved"): void {
    participant.lease.disarm();
    if (!this.#known.delete(participant.data.prefix)) return;
    this.#setup.onLost(participant, why);
  }

  /** Says goodbye to everybody and stops. */
  close(): void {
    this.#alarm.disarm();
    const { prefix } = this.#setup.data();
    const guid = unhex(`${prefix}000001c1`);
    const key = new ParameterWriter(true).bytes(Pid.participantGuid, guid).finish();
    const inline = new ParameterWriter(false).bytes(Pid.keyHash, guid)
      .bytes(Pid.statusInfo, statusInfo("both")).finish();
    const now = Date.now();
    const { spdpReader, spdpWriter } = Entity;
    this.#sequence++;
    const known = Array.from(this.#known.values(), (each) => each.metatraffic);
    for (const destination of [...this.#group, ...this.#peers, ...known]) {
      destination.data(spdpReader, spdpWriter, this.#sequence, now, key, true, inline);
    }
    for (const each of this.#known.values()) each.lease.disarm();
    this.#known.clear();
  }
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
