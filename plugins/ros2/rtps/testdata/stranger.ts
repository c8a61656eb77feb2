/**
 * A participant whose sockets are in memory, and a stranger who writes it any datagram it likes.
 *
 * @module
 */

import { TimerWheel } from "@patchbay/core";
import { BUILTIN_ENDPOINTS, Entity, Pid } from "../constants.ts";
import {
  type EndpointData,
  type ParticipantData,
  writeEndpoint,
  writeParticipant,
} from "../discovery_data.ts";
import { guidOf, unhex } from "../guid.ts";
import type { Address, Datagram, OpenSocket } from "../mod.ts";
import { Participant, type ParticipantOptions } from "../mod.ts";
import { Destination, Outbox, statusInfo } from "../outbox.ts";
import { ParameterWriter } from "../parameters.ts";
import { DEFAULT_QOS, type Qos } from "../qos.ts";

/** A datagram that left. */
export interface Sent {
  readonly bytes: Uint8Array;
  readonly to: Address;
}

/** A participant that hears only what it is given. */
export class Lonely implements AsyncDisposable {
  #deliver: ((datagram: Datagram | undefined) => void) | undefined;
  #again = Promise.withResolvers<void>();
  readonly #wheel: TimerWheel;
  /** What it has sent. */
  readonly sent: Sent[] = [];
  /** What it has reported. */
  readonly reports: unknown[] = [];
  /** The participant. */
  participant!: Participant;

  private constructor() {
    this.#wheel = new TimerWheel();
  }

  /** Opens one. */
  static async open(options: ParticipantOptions = {}): Promise<Lonely> {
    const lonely = new Lonely();
    lonely.participant = await Participant.open({
      domain: 3,
      interfaces: ["127.0.0.1"],
      openSocket: lonely.#open,
      wheel: lonely.#wheel,
      onReport: (error) => lonely.reports.push(error),
      ...options,
    });
    return lonely;
  }

  readonly #open: OpenSocket = ({ hostname, port }) => {
    let close: (value: undefined) => void = () => {};
    return Promise.resolve({
      local: { hostname, port },
      receive: () => {
        const { promise, resolve } = Promise.withResolvers<Datagram | undefined>();
        this.#deliver = close = resolve;
        this.#again.resolve();
        return promise;
      },
      send: (bytes, to) => {
        this.sent.push({ bytes: bytes.slice(), to });
        return Promise.resolve(bytes.length);
      },
      close: () => close(undefined),
    });
  };

  /** Gives it datagrams, and waits until each is read and what it causes at once has been sent. */
  async hear(datagrams: readonly Uint8Array[], from = "127.0.0.1"): Promise<void> {
    for (const bytes of datagrams) {
      this.#again = Promise.withResolvers();
      this.#deliver?.({ bytes, from: { hostname: from, port: 1 } });
      await this.#again.promise;
    }
    await Promise.resolve();
  }

  /** How many bytes it has sent since the last look. */
  takeSentBytes(): number {
    return this.sent.splice(0).reduce((sum, { bytes }) => sum + bytes.length, 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.participant.close();
    this.#wheel.close();
  }
}

/** The number of a prefix, spelled out. */
export function prefixOfNumber(n: number): string {
  return `010f${n.toString(16).padStart(20, "0")}`;
}

/** Somebody on the network. */
export class Stranger {
  readonly #to: string;
  readonly #vendor: number;
  #announcements = { writer: 0, reader: 0 };
  /** The prefix it speaks under. */
  readonly prefix: string;

  /**
   * @param to Whom it writes to.
   * @param prefix Under which prefix it speaks.
   * @param vendor What it says it was made by.
   */
  constructor(
    to: Pick<Lonely, "participant">,
    prefix: string = prefixOfNumber(1),
    vendor = 0x010f,
  ) {
    this.#to = to.participant.prefix;
    this.prefix = prefix;
    this.#vendor = vendor;
  }

  /** Datagrams. */
  say(build: (destination: Destination) => void, maxBytes = 65_000): Uint8Array<ArrayBuffer>[] {
    const datagrams: Uint8Array<ArrayBuffer>[] = [];
    const address = { hostname: "127.0.0.1", port: 9 };
    const socket = {
      local: address,
      receive: () => Promise.resolve(undefined),
      send: (bytes: Uint8Array) => {
        const copy = new Uint8Array(bytes);
        copy[6] = this.#vendor >> 8;
        copy[7] = this.#vendor & 255;
        datagrams.push(copy);
        return Promise.resolve(0);
      },
      close: () => {},
    };
    const outbox = new Outbox(this.prefix, maxBytes);
    const destination = new Destination(outbox, socket, address, this.#to, maxBytes);
    build(destination);
    destination.flush();
    return datagrams;
  }

  /** Its announcement. */
  announce(more: Partial<ParticipantData> = {}): Uint8Array<ArrayBuffer>[] {
    const address = { hostname: "127.0.0.1", port: 9 };
    const payload = writeParticipant({
      prefix: this.prefix,
      vendor: this.#vendor,
      name: "",
      userData: new Uint8Array(0),
      metatraffic: [address],
      unicast: [address],
      leaseMs: 20_000,
      builtin: BUILTIN_ENDPOINTS,
      ...more,
    }, undefined);
    return this.say((to) =>
      to.data(Entity.spdpReader, Entity.spdpWriter, 1, 0, payload, false, undefined)
    );
  }

  /** That it has gone. */
  goodbye(): Uint8Array<ArrayBuffer>[] {
    const guid = unhex(`${this.prefix}000001c1`);
    const key = new ParameterWriter(true).bytes(Pid.participantGuid, guid).finish();
    const inline = new ParameterWriter(false).bytes(Pid.keyHash, guid)
      .bytes(Pid.statusInfo, statusInfo("both")).finish();
    return this.say((to) => to.data(Entity.spdpReader, Entity.spdpWriter, 2, 0, key, true, inline));
  }

  /** The announcement of an endpoint, as the next of its kind. */
  endpoint(
    kind: "writer" | "reader",
    entity: number,
    { qos, ...more }: Partial<Omit<EndpointData, "qos">> & { qos?: Partial<Qos> } = {},
  ): Uint8Array<ArrayBuffer>[] {
    const payload = writeEndpoint({
      guid: guidOf(this.prefix, entity),
      kind,
      topic: "t",
      type: "T",
      qos: { ...DEFAULT_QOS, ...qos },
      userData: new Uint8Array(0),
      unicast: [],
      representations: [],
      ...more,
    });
    const [reader, writer] = kind === "writer"
      ? [Entity.publicationsReader, Entity.publicationsWriter]
      : [Entity.subscriptionsReader, Entity.subscriptionsWriter];
    const sequence = ++this.#announcements[kind];
    return this.say((to) => to.data(reader, writer, sequence, 0, payload, false, undefined));
  }
}

/** The entity ids of a stranger's writers and readers, without a key. */
export const writerId = (n: number): number => (n << 8 | 0x03) >>> 0;
export const readerId = (n: number): number => (n << 8 | 0x04) >>> 0;
