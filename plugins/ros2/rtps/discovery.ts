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
import { type DataSubmessage, FOREIGN, type Incoming } from "./message_reader.ts";
import type { Network } from "./network.ts";
import { type Destination, statusInfo } from "./outbox.ts";
import { ParameterWriter } from "./parameters.ts";
import { RemoteParticipant } from "./remote_participant.ts";
import { Alarm, Lease } from "./timers.ts";
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
  readonly onLost: (participant: RemoteParticipant, why: WhyLost) => void;
  /** Whether a participant has ever answered: else perhaps nobody is there. */
  readonly hasAnswered: (participant: RemoteParticipant) => boolean;
  readonly count: (reason: string) => void;
  /** Something was given up because of a limit. */
  readonly limit: (reason: string) => void;
}

/**
 * Why a participant is no longer known: it said goodbye, its lease is over, it is somewhere else
 * now, or it never answered and others wanted its place.
 */
export type WhyLost = "goodbye" | "expired" | "moved" | "crowded_out";

/** Who promises a word more often is not watched more closely: it would come and go all the time. */
const LEAST_LEASE_MS = 500;
/** What a participant may say of itself in names and bytes. */
const MAX_WORDS_BYTES = 8192;
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
    const { network, data: own, domain, count, limit } = this.#setup;
    const from = context.from.hostname;
    const speaker = this.#known.get(context.prefix);
    // With another's prefix one datagram could end it, or move it.
    if (speaker?.speaksFrom(from) === false) return count(FOREIGN);
    if ((data.status & (Status.disposed | Status.unregistered)) !== 0) {
      if (speaker !== undefined) this.#remove(speaker, "goodbye");
      return;
    }
    if (data.holds !== "data") return;
    const payload = context.bytes.subarray(data.at, data.end);
    const said = readParticipant(payload, context.vendor);
    if (said === undefined) return count("malformed participant");
    if (said.prefix === own().prefix) return;
    if (said.prefix !== context.prefix) return count("participant with another's prefix");
    if (said.domain !== undefined && said.domain !== domain) return;
    if (said.name.length + said.userData.length > MAX_WORDS_BYTES) {
      return limit("participant too large");
    }
    const leaseMs = Math.max(LEAST_LEASE_MS, said.leaseMs);
    const known = this.#known.get(said.prefix);
    if (known !== undefined) {
      if (!known.hasMoved(said)) {
        const before = known.data;
        known.data = said;
        known.lease.renew(leaseMs);
        if (!sameBytes(before.userData, said.userData) || before.name !== said.name) {
          this.#setup.onChanged(known);
        }
        return;
      }
      this.#remove(known, "moved");
    }
    const metatraffic = network.destination(said.metatraffic, from, said.prefix, "metatraffic");
    if (metatraffic === undefined) return count("participant that cannot be reached");
    if (this.#known.size >= this.#setup.maxParticipants && !this.#crowdOut()) {
      return limit("too many participants");
    }
    const lease = new Lease(this.#setup.wheel, () => this.#remove(found, "expired"));
    const found: RemoteParticipant = new RemoteParticipant(network, said, from, metatraffic, lease);
    this.#known.set(said.prefix, found);
    lease.renew(leaseMs);
    // It may have come after the last announcement: it need not wait for the next.
    this.#send(metatraffic, writeParticipant(own(), network.group), Date.now());
    this.#setup.onFound(found);
  }

  /** The oldest who never answered makes place; false if all have. */
  #crowdOut(): boolean {
    for (const each of this.#known.values()) {
      if (this.#setup.hasAnswered(each)) continue;
      this.#setup.limit("participants crowded out");
      this.#remove(each, "crowded_out");
      return true;
    }
    return false;
  }

  #remove(participant: RemoteParticipant, why: WhyLost): void {
    participant.lease.end();
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
    for (const each of this.#known.values()) each.lease.end();
    this.#known.clear();
  }
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
