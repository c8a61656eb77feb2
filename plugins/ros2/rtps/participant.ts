/**
 * A participant of a DDS domain: its endpoints, the participants it has found, and who of them
 * matches whom.
 *
 * @module
 */

import { PatchbayError } from "@patchbay/core/errors";
import { TimerWheel } from "@patchbay/core";
import { Acquaintance } from "./acquaintance.ts";
import { EntityKind, MAX_DOMAIN, VENDOR_ID } from "./constants.ts";
import { Discovery } from "./discovery.ts";
import type { EndpointData, ParticipantData } from "./discovery_data.ts";
import { EndpointDiscovery } from "./endpoint_discovery.ts";
import type { Reader, Writer } from "./endpoints.ts";
import { guidOf, hex, newPrefix, unhex } from "./guid.ts";
import { matchEndpoints } from "./matching.ts";
import { type Interface, ipv4, machineInterfaces, Network } from "./network.ts";
import type { Destination } from "./outbox.ts";
import type {
  EndpointOptions,
  ParticipantOptions,
  ParticipantStatistics,
  ReaderOptions,
  WriterOptions,
} from "./participant_options.ts";
import { completeQos, type Qos } from "./qos.ts";
import { RtpsReader } from "./reader.ts";
import { Receiver } from "./receiver.ts";
import type { RemoteParticipant } from "./remote_participant.ts";
import { openUdp } from "./socket.ts";
import { RtpsWriter } from "./writer.ts";

const NOTHING: Uint8Array = new Uint8Array(0);
/** What is given up because of a limit is told as often as this. */
const LIMIT_TOLD_MS = 60_000;
const DEFAULT_WINDOW_BYTES = 192 * 1024;

/** One participant. Made by {@link Participant.open}. */
export class Participant implements AsyncDisposable {
  readonly #options: ParticipantOptions;
  readonly #network: Network;
  readonly #wheel: TimerWheel;
  readonly #ownWheel: boolean;
  readonly #discovery: Discovery;
  readonly #endpoints: EndpointDiscovery;
  readonly #acquaintance: Acquaintance;
  readonly #writers = new Map<number, RtpsWriter>();
  readonly #readers = new Map<number, RtpsReader>();
  readonly #self: Destination | undefined;
  readonly #ignored = new Map<string, number>();
  readonly #limitsTold = new Map<string, number>();
  readonly #loops: Promise<void>[] = [];
  readonly #receiver: Receiver;
  #data: ParticipantData;
  #nextEntity = 1;
  #closing: Promise<void> | undefined;
  /** The domain. */
  readonly domain: number;
  /** The 24 hexadecimal digits that its GUIDs begin with. */
  readonly prefix: string;

  private constructor(prefix: string, network: Network, options: ParticipantOptions) {
    this.#options = options;
    this.#network = network;
    this.prefix = prefix;
    this.domain = options.domain ?? 0;
    this.#ownWheel = options.wheel === undefined;
    this.#wheel = options.wheel ?? new TimerWheel();
    this.#data = {
      prefix,
      vendor: VENDOR_ID,
      domain: this.domain,
      name: options.name ?? "",
      userData: options.userData ?? NOTHING,
      metatraffic: network.metatraffic,
      unicast: network.unicast,
      leaseMs: options.leaseMs ?? 20_000,
      builtin: 0,
    };
    const own = network.unicast[0];
    this.#self = network.destination([own], own.hostname, prefix, "user");
    const count = (reason: string) => this.#ignore(reason);
    const limit = (reason: string) => this.#limit(reason);
    this.#endpoints = new EndpointDiscovery({
      prefix,
      wheel: this.#wheel,
      windowBytes: options.windowBytes ?? DEFAULT_WINDOW_BYTES,
      maxEndpoints: options.maxEndpoints ?? 4096,
      maxEndpointsInAll: options.maxEndpointsInAll ?? 32_768,
      report: this.#report,
      count,
      limit,
      participant: (other) => this.#discovery.get(other),
      onEndpoint: (participant, endpoint) => this.#found(participant, endpoint),
      onEndpointGone: (participant, endpoint) => this.#gone(participant, endpoint),
      onAlive: (other, kind) => {
        for (const reader of this.#readers.values()) reader.assertAlive(other, kind);
      },
    });
    this.#acquaintance = new Acquaintance({
      wheel: this.#wheel,
      taken: network.taken,
      participants: () => this.#discovery.participants,
      isAcquainted: (participant) => this.#endpoints.isAcquainted(participant),
    });
    this.#discovery = new Discovery({
      network,
      wheel: this.#wheel,
      data: () => this.#data,
      domain: this.domain,
      peers: (options.peers ?? []).map(peer),
      announceMs: options.announceMs ?? 3000,
      maxParticipants: options.maxParticipants ?? 1024,
      hasAnswered: (participant) => this.#endpoints.hasAnswered(participant),
      onFound: (participant) => {
        this.#receiver.forget();
        this.#acquaintance.found(participant);
        this.#endpoints.match(participant);
        this.#tell(() => options.onParticipant?.(participant.data));
      },
      onChanged: (participant) => this.#tell(() => options.onParticipant?.(participant.data)),
      onLost: (participant, why) => {
        this.#receiver.forget();
        this.#endpoints.unmatch(participant);
        for (const endpoint of participant.endpoints.values()) this.#gone(participant, endpoint);
        participant.endpoints.clear();
        this.#acquaintance.lost(participant);
        this.#tell(() => options.onParticipantLost?.(participant.data, why));
      },
      count,
      limit,
    });
    this.#receiver = new Receiver({
      ownPrefix: prefix,
      prefix: unhex(prefix),
      isHere: (hostname) => network.isHere(hostname),
      discovery: this.#discovery,
      builtin: this.#endpoints,
      writers: this.#writers,
      readers: this.#readers,
      look: () => this.#acquaintance.look(),
      ignore: count,
      report: this.#report,
      isClosing: () => this.#closing !== undefined,
    });
  }

  /**
   * Opens a participant: takes its ports, begins to announce itself and to listen.
   *
   * @param options Domain, interfaces, peers and so on.
   * @throws {PatchbayError} `invalid` for options that cannot be; `unavailable` without datagrams,
   * interfaces or free ports.
   *
   * @example
   * ```ts ignore
   * import { Participant } from "@patchbay/ros2/rtps";
   *
   * await using participant = await Participant.open({ domain: 7, interfaces: ["127.0.0.1"] });
   * const writer = participant.createWriter({ topic: "pose", type: "Pose" });
   * writer.write(Uint8Array.of(0, 1, 0, 0, 42, 0, 0, 0));
   * ```
   */
  static async open(options: ParticipantOptions = {}): Promise<Participant> {
    const { domain = 0 } = options;
    if (!Number.isInteger(domain) || domain < 0 || domain > MAX_DOMAIN) {
      throw new PatchbayError("invalid", `the domain must be 0 to ${MAX_DOMAIN}, not ${domain}`);
    }
    for (const each of options.interfaces ?? []) {
      if (ipv4(each) === undefined) {
        throw new PatchbayError("invalid", `the interface ${each} is not an IPv4 address`);
      }
    }
    // Whatever is wrong with them is told before a port is taken.
    for (const each of options.peers ?? []) peer(each);
    const prefix = hex(newPrefix(VENDOR_ID));
    const network = await Network.open(prefix, {
      domain,
      interfaces: chooseInterfaces(options.interfaces),
      multicast: options.multicast ?? true,
      openSocket: options.openSocket ?? openUdp,
      mtuBytes: options.mtuBytes ?? 1472,
    });
    const participant = new Participant(prefix, network, options);
    for (const socket of network.sockets) {
      participant.#loops.push(participant.#receiver.listen(socket));
    }
    participant.#discovery.start();
    return participant;
  }

  readonly #report = (error: unknown): void => {
    const { onReport } = this.#options;
    if (onReport !== undefined) onReport(error);
    else reportError(error);
  };

  #tell(call: () => void): void {
    try {
      call();
    } catch (error) {
      this.#report(error);
    }
  }

  #ignore(reason: string): void {
    this.#ignored.set(reason, (this.#ignored.get(reason) ?? 0) + 1);
  }

  /** Counts what a limit has cost, and tells of it once a minute. */
  #limit(reason: string): void {
    this.#ignore(reason);
    const now = performance.now();
    if (now < (this.#limitsTold.get(reason) ?? -Infinity) + LIMIT_TOLD_MS) return;
    this.#limitsTold.set(reason, now);
    const { maxParticipants = 1024, maxEndpoints = 4096, maxEndpointsInAll = 32_768 } =
      this.#options;
    this.#report(
      new PatchbayError("overloaded", `domain ${this.domain}: ${reason}`, {
        details: {
          reason,
          ignored: this.#ignored.get(reason),
          maxParticipants,
          maxEndpoints,
          maxEndpointsInAll,
        },
        remedy: "somebody announces more than was reckoned with, or means harm: look who is " +
          "there, keep strangers off this domain's ports, or raise the limit",
      }),
    );
  }

  /** What it says of itself. */
  get data(): ParticipantData {
    return this.#data;
  }

  /** The participants that are known. */
  get participants(): ParticipantData[] {
    return Array.from(this.#discovery.participants, (each) => each.data);
  }

  /** The endpoints of other participants that are known. */
  get remoteEndpoints(): EndpointData[] {
    return Array.from(this.#discovery.participants, (each) => [...each.endpoints.values()]).flat();
  }

  /** A participant by its prefix. */
  participant(prefix: string): ParticipantData | undefined {
    return this.#discovery.get(prefix)?.data;
  }

  /** Counters. */
  get statistics(): ParticipantStatistics {
    const { outbox } = this.#network;
    return {
      received: this.#receiver.received,
      sent: outbox.datagrams,
      ignored: Object.fromEntries(this.#ignored),
      sendFailures: Object.fromEntries(outbox.failed),
      defects: this.#receiver.defects,
    };
  }

  /**
   * Resolves when everybody who is known, or was on this machine when this participant was opened,
   * has heard of all endpoints here and has told of all of its own: true. False after `timeoutMs`, or
   * once the participant is closed; who has not answered by then is not waited for again until it
   * does.
   *
   * @param timeoutMs How long to wait, in milliseconds.
   */
  untilAcquainted(timeoutMs: number): Promise<boolean> {
    return this.#acquaintance.until(timeoutMs);
  }

  /** Changes the bytes that others are told. */
  setUserData(userData: Uint8Array): void {
    this.#data = { ...this.#data, userData };
    this.#discovery.changed();
  }

  #endpointData(kind: "writer" | "reader", entity: number, options: EndpointOptions): EndpointData {
    if (this.#closing !== undefined) {
      throw new PatchbayError("closed", "the participant is closed");
    }
    let qos: Qos;
    try {
      qos = completeQos(options.qos ?? {});
    } catch (error) {
      throw new PatchbayError("invalid", `${options.topic}: ${(error as Error).message}`);
    }
    return {
      guid: guidOf(this.prefix, entity),
      kind,
      topic: options.topic,
      type: options.type,
      qos,
      userData: options.userData ?? NOTHING,
      unicast: [],
      representations: [],
    };
  }

  #entity(kind: number): number {
    // 24 bits; entities of this participant are told apart by them for its whole life.
    return ((this.#nextEntity++ & 0xffffff) << 8 | kind) >>> 0;
  }

  /**
   * Makes a writer and tells everybody of it.
   *
   * @param options Topic, type, policies, and what is to be told.
   * @throws {PatchbayError} `invalid` for policies that cannot be; `closed`.
   */
  createWriter(options: WriterOptions): Writer {
    const keyed = options.keyed ?? false;
    const entity = this.#entity(keyed ? EntityKind.writerWithKey : EntityKind.writerNoKey);
    const data = this.#endpointData("writer", entity, options);
    const writer = new RtpsWriter({
      ...options,
      data,
      entity,
      keyed,
      limits: {
        maxSamples: options.maxSamples ?? 10_000,
        maxBytes: options.maxBytes ?? 256 * 1024 * 1024,
      },
      windowBytes: this.#options.windowBytes ?? DEFAULT_WINDOW_BYTES,
      wheel: this.#wheel,
      report: this.#report,
      alive: (each) => this.#writerAlive(each),
      closed: () => {
        this.#closed(data, this.#writers);
        this.#tell(() => options.onClosed?.());
      },
    });
    this.#writers.set(entity, writer);
    this.#announce(data);
    return writer;
  }

  /**
   * Makes a reader and tells everybody of it.
   *
   * @param options Topic, type, policies, and what is to be told.
   * @throws {PatchbayError} `invalid` for policies that cannot be; `closed`.
   */
  createReader(options: ReaderOptions): Reader {
    const keyed = options.keyed ?? false;
    const entity = this.#entity(keyed ? EntityKind.readerWithKey : EntityKind.readerNoKey);
    const data = this.#endpointData("reader", entity, options);
    const reader = new RtpsReader({
      ...options,
      data,
      entity,
      keyed,
      maxSampleBytes: this.#options.maxSampleBytes ?? 64 * 1024 * 1024,
      maxHeldBytes: this.#options.maxHeldBytes ?? 128 * 1024 * 1024,
      maxSamples: options.maxSamples ?? 10_000,
      wheel: this.#wheel,
      report: this.#report,
      closed: () => {
        this.#closed(data, this.#readers);
        this.#tell(() => options.onClosed?.());
      },
    });
    this.#readers.set(entity, reader);
    this.#announce(data);
    return reader;
  }

  #announce(data: EndpointData): void {
    this.#endpoints.announce(data);
    this.#watchLiveliness();
    for (const participant of this.#discovery.participants) {
      for (const endpoint of participant.endpoints.values()) {
        this.#pair(participant, endpoint, data);
      }
    }
    if (this.#options.matchOwn === false) return;
    // Its own endpoints meet over its own socket, like anybody's.
    const others = data.kind === "writer" ? this.#readers : this.#writers;
    for (const { data: other } of others.values()) this.#pairLocal(data, other);
  }

  #closed(data: EndpointData, from: Map<number, unknown>): void {
    for (const [entity, each] of from) {
      if ((each as { data: EndpointData }).data === data) from.delete(entity);
    }
    if (this.#closing !== undefined) return;
    this.#endpoints.withdraw(data);
    this.#watchLiveliness();
    const others = data.kind === "writer" ? this.#readers : this.#writers;
    for (const each of others.values()) each.unmatch(data.guid);
  }

  /** An endpoint of another participant: pairs it with what fits here. */
  #found(participant: RemoteParticipant, endpoint: EndpointData): void {
    this.#tell(() => this.#options.onEndpoint?.(endpoint, participant.data));
    const own = endpoint.kind === "writer" ? this.#readers : this.#writers;
    for (const { data } of own.values()) this.#pair(participant, endpoint, data);
  }

  #gone(participant: RemoteParticipant, endpoint: EndpointData): void {
    const own = endpoint.kind === "writer" ? this.#readers : this.#writers;
    for (const each of own.values()) each.unmatch(endpoint.guid);
    this.#tell(() => this.#options.onEndpointGone?.(endpoint, participant.data));
  }

  #own(data: EndpointData): RtpsWriter | RtpsReader | undefined {
    const entity = parseInt(data.guid.slice(24), 16);
    return data.kind === "writer" ? this.#writers.get(entity) : this.#readers.get(entity);
  }

  #pair(participant: RemoteParticipant, remote: EndpointData, own: EndpointData): void {
    const wrong = matchEndpoints(own, remote);
    if (wrong === undefined) return;
    const endpoint = this.#own(own);
    if (wrong.length > 0) {
      endpoint?.unmatch(remote.guid);
      endpoint?.mismatched(remote, wrong);
      return;
    }
    if (endpoint?.hasPlaceFor(remote.guid) === false) return this.#limit("too many matches");
    const destination = participant.destination(remote);
    if (destination === undefined) return this.#ignore("endpoint that cannot be reached");
    endpoint?.match(remote, participant.data.vendor, destination);
  }

  #pairLocal(own: EndpointData, other: EndpointData): void {
    const wrong = matchEndpoints(own, other);
    if (wrong === undefined || this.#self === undefined) return;
    for (const [a, b] of [[own, other], [other, own]]) {
      if (wrong.length > 0) this.#own(a)?.mismatched(b, wrong);
      else this.#own(a)?.match(b, VENDOR_ID, this.#self);
    }
  }

  /** Gives signs of life twice within the shortest lease of a writer that is watched. */
  #watchLiveliness(): void {
    let soonest = Infinity;
    for (const { data: { qos } } of this.#writers.values()) {
      if (qos.liveliness === "automatic") soonest = Math.min(soonest, qos.livelinessLeaseMs);
    }
    this.#endpoints.assertEvery(soonest === Infinity ? Infinity : Math.max(5, soonest / 3));
  }

  #writerAlive(writer: RtpsWriter): void {
    const { liveliness, livelinessLeaseMs } = writer.data.qos;
    if (liveliness !== "manual_by_participant" || livelinessLeaseMs === Infinity) return;
    this.#endpoints.assertLiveliness("manual_by_participant");
  }

  /**
   * Says goodbye, closes all endpoints and sockets. Idempotent; what is under way is given up:
   * wait for `Writer.untilAcknowledged` first where it matters.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    // The sockets stay until the goodbye has left.
    await Promise.resolve();
    this.#discovery.close();
    this.#acquaintance.close();
    for (const writer of [...this.#writers.values()]) writer.close();
    for (const reader of [...this.#readers.values()]) reader.close();
    this.#endpoints.close();
    await this.#network.outbox.drained();
    this.#network.close();
    if (this.#ownWheel) this.#wheel.close();
    await Promise.all(this.#loops);
  }

  /** As `close()`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

function peer(text: string): { hostname: string; port?: number } {
  const [hostname, port] = text.split(":");
  const number = port === undefined ? undefined : Number(port);
  const valid = number === undefined || Number.isInteger(number) && number > 0 && number < 65536;
  if (ipv4(hostname) === undefined || !valid) {
    throw new PatchbayError("invalid", `the peer ${text} is not an IPv4 address, or its port`);
  }
  return { hostname, port: number };
}

function chooseInterfaces(wanted: readonly string[] | undefined): Interface[] {
  if (wanted === undefined) return machineInterfaces();
  let found: Interface[] = [];
  // Loopback's network needs no look at the machine, and no permission for it.
  if (wanted.some((address) => !address.startsWith("127."))) found = machineInterfaces();
  return wanted.map((address) =>
    found.find((each) => each.address === address) ??
      { address, bits: address.startsWith("127.") ? 8 : 32 }
  );
}
