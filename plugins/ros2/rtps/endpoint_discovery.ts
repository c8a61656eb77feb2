/**
 * Tells other participants of this one's endpoints and hears of theirs (SEDP, 8.5.4), and carries
 * the signs of life of writers (8.4.13).
 *
 * @module
 */

import type { TimerWheel } from "@patchbay/core";
import { Entity } from "./constants.ts";
import { type EndpointData, readEndpoint, writeEndpoint } from "./discovery_data.ts";
import { entityOf, guidOf, hex, prefixOf, unhex } from "./guid.ts";
import { Pid } from "./constants.ts";
import { ParameterWriter, readParameters, valueBytes } from "./parameters.ts";
import { DEFAULT_QOS, type Qos } from "./qos.ts";
import type { Sample } from "./endpoints.ts";
import { RtpsReader } from "./reader.ts";
import type { RemoteParticipant } from "./remote_participant.ts";
import { Alarm } from "./timers.ts";
import { RtpsWriter } from "./writer.ts";

/** What it is told and tells. */
export interface EndpointDiscoverySetup {
  readonly prefix: string;
  readonly wheel: TimerWheel;
  readonly windowBytes: number;
  readonly maxEndpoints: number;
  /** How many endpoints are known at most, of all participants together. */
  readonly maxEndpointsInAll: number;
  readonly report: (error: unknown) => void;
  readonly count: (reason: string) => void;
  /** Something was given up because of a limit. */
  readonly limit: (reason: string) => void;
  readonly participant: (prefix: string) => RemoteParticipant | undefined;
  readonly onEndpoint: (participant: RemoteParticipant, endpoint: EndpointData) => void;
  readonly onEndpointGone: (participant: RemoteParticipant, endpoint: EndpointData) => void;
  /** Writers of a participant have given a sign of life. */
  readonly onAlive: (prefix: string, kind: "automatic" | "manual_by_participant") => void;
}

const BUILTIN_QOS: Qos = { ...DEFAULT_QOS, durability: "transient_local" };
/** An announcement is far smaller; whoever sends more means harm. */
const MAX_ANNOUNCEMENT_BYTES = 65_536;
/** What an endpoint may say of itself in names and bytes. */
const MAX_WORDS_BYTES = 8192;

function wordsOf({ topic, type, userData, qos: { partition } }: EndpointData): number {
  return partition.reduce((sum, name) => sum + name.length + 16, 0) +
    topic.length + type.length + userData.length;
}

const LIMITS = { maxSamples: 100_000, maxBytes: 64 * 1024 * 1024 };

/** Bits of a participant's set of built-in endpoints, and the pair each stands for. */
const PAIRS = [
  { bit: 2, writer: Entity.publicationsWriter, reader: Entity.publicationsReader, offers: true },
  { bit: 3, writer: Entity.publicationsWriter, reader: Entity.publicationsReader, offers: false },
  { bit: 4, writer: Entity.subscriptionsWriter, reader: Entity.subscriptionsReader, offers: true },
  { bit: 5, writer: Entity.subscriptionsWriter, reader: Entity.subscriptionsReader, offers: false },
  { bit: 10, writer: Entity.messageWriter, reader: Entity.messageReader, offers: true },
  { bit: 11, writer: Entity.messageWriter, reader: Entity.messageReader, offers: false },
] as const;

/** The built-in endpoints of one participant. */
export class EndpointDiscovery {
  readonly #setup: EndpointDiscoverySetup;
  readonly #assertAlarm: Alarm;
  #assertMs = Infinity;
  #known = 0;
  /** The built-in writers, by entity id. */
  readonly writers: Map<number, RtpsWriter> = new Map();
  /** The built-in readers, by entity id. */
  readonly readers: Map<number, RtpsReader> = new Map();

  /** @param setup What it is told and tells. */
  constructor(setup: EndpointDiscoverySetup) {
    this.#setup = setup;
    for (const writer of [Entity.publicationsWriter, Entity.subscriptionsWriter]) {
      this.#addWriter(writer);
    }
    this.#addWriter(Entity.messageWriter);
    this.#addReader(Entity.publicationsReader, (sample) => this.#endpoint("writer", sample));
    this.#addReader(Entity.subscriptionsReader, (sample) => this.#endpoint("reader", sample));
    this.#addReader(Entity.messageReader, (sample) => this.#message(sample));
    this.#assertAlarm = new Alarm(setup.wheel, () => {
      this.#assertAlarm.arm(this.#assertMs);
      this.assertLiveliness("automatic");
    });
  }

  #data(entity: number, kind: "writer" | "reader", prefix = this.#setup.prefix): EndpointData {
    return {
      guid: guidOf(prefix, entity),
      kind,
      topic: "",
      type: "",
      qos: BUILTIN_QOS,
      userData: new Uint8Array(0),
      unicast: [],
      representations: [],
    };
  }

  #addWriter(entity: number): void {
    const { wheel, report, windowBytes } = this.#setup;
    const nothing = () => {};
    const data = this.#data(entity, "writer");
    const setup = { data, entity, keyed: true, limits: LIMITS, windowBytes, wheel, report };
    this.writers.set(entity, new RtpsWriter({ ...setup, closed: nothing, alive: nothing }));
  }

  #addReader(entity: number, onSample: (sample: Sample) => void): void {
    const { wheel, report } = this.#setup;
    const data = this.#data(entity, "reader");
    this.readers.set(
      entity,
      new RtpsReader({
        data,
        entity,
        keyed: true,
        onSample,
        maxSampleBytes: MAX_ANNOUNCEMENT_BYTES,
        maxHeldBytes: 4 * 1024 * 1024,
        maxSamples: 1,
        wheel,
        report,
        closed: () => {},
      }),
    );
  }

  /** Exchanges endpoints with a participant that was found. */
  match({ data: { prefix, vendor, builtin }, metatraffic }: RemoteParticipant): void {
    for (const { bit, writer, reader, offers } of PAIRS) {
      if ((builtin & (1 << bit)) === 0) continue;
      if (offers) {
        this.readers.get(reader)!.match(this.#data(writer, "writer", prefix), vendor, metatraffic);
      } else {
        this.writers.get(writer)!.match(this.#data(reader, "reader", prefix), vendor, metatraffic);
      }
    }
  }

  /** Whether a participant has heard of all endpoints here, and has told of all of its own. */
  isAcquainted({ data: { prefix } }: RemoteParticipant): boolean {
    for (const { writer, reader, offers } of PAIRS) {
      if (writer === Entity.messageWriter) continue;
      const all = offers
        ? this.readers.get(reader)!.isCompleteFrom(guidOf(prefix, writer))
        : this.writers.get(writer)!.isAcknowledgedBy(guidOf(prefix, reader));
      if (!all) return false;
    }
    return true;
  }

  /** Whether a participant has ever answered. */
  hasAnswered({ data: { prefix } }: RemoteParticipant): boolean {
    return PAIRS.some(({ writer, reader, offers }) =>
      !offers && this.writers.get(writer)!.wasAnsweredBy(guidOf(prefix, reader))
    );
  }

  /** Forgets a participant. */
  unmatch({ data: { prefix }, endpoints }: RemoteParticipant): void {
    this.#known -= endpoints.size;
    for (const { writer, reader, offers } of PAIRS) {
      if (offers) this.readers.get(reader)!.unmatch(guidOf(prefix, writer));
      else this.writers.get(writer)!.unmatch(guidOf(prefix, reader));
    }
  }

  #announcer(kind: "writer" | "reader"): RtpsWriter {
    const entity = kind === "writer" ? Entity.publicationsWriter : Entity.subscriptionsWriter;
    return this.writers.get(entity) as RtpsWriter;
  }

  /** Tells everybody of an endpoint. */
  announce(endpoint: EndpointData): void {
    this.#announcer(endpoint.kind).write(writeEndpoint(endpoint), { key: endpoint.guid });
  }

  /** Tells everybody that an endpoint has gone. */
  withdraw(endpoint: EndpointData): void {
    const key = new ParameterWriter(true).bytes(Pid.endpointGuid, unhex(endpoint.guid)).finish();
    this.#announcer(endpoint.kind).end(endpoint.guid, "both", key);
  }

  #endpoint(kind: "writer" | "reader", sample: Sample): void {
    const prefix = prefixOf(sample.writer.guid);
    const participant = this.#setup.participant(prefix);
    if (participant === undefined) return;
    if (sample.state !== "alive") {
      const guid = sample.key || keyGuid(sample.payload);
      const gone = guid === undefined ? undefined : participant.endpoints.get(guid);
      if (gone === undefined) return;
      participant.endpoints.delete(gone.guid);
      this.#known--;
      return this.#setup.onEndpointGone(participant, gone);
    }
    const endpoint = readEndpoint(sample.payload, kind);
    if (endpoint === undefined) return this.#setup.count("malformed endpoint");
    // Nobody speaks for another participant's endpoints.
    if (prefixOf(endpoint.guid) !== prefix) return this.#setup.count("endpoint of another");
    const isWriter = (entityOf(endpoint.guid) & 0x3f) <= 0x03;
    if (isWriter !== (kind === "writer")) return this.#setup.count("malformed endpoint");
    const { maxEndpoints, maxEndpointsInAll, limit } = this.#setup;
    if (wordsOf(endpoint) > MAX_WORDS_BYTES) return limit("endpoint too large");
    if (!participant.endpoints.has(endpoint.guid)) {
      if (participant.endpoints.size >= maxEndpoints || this.#known >= maxEndpointsInAll) {
        return limit("too many endpoints");
      }
      this.#known++;
    }
    participant.endpoints.set(endpoint.guid, endpoint);
    this.#setup.onEndpoint(participant, endpoint);
  }

  #message({ payload, state, writer }: Sample): void {
    // ParticipantMessageData: prefix, kind (bytes 00 00 00 01 or 02), data.
    if (state !== "alive" || payload.length < 20) return;
    const prefix = hex(payload.subarray(4, 16));
    if (prefix !== prefixOf(writer.guid)) return this.#setup.count("liveliness of another");
    const kind = (payload[16] << 24) | (payload[17] << 16) | (payload[18] << 8) | payload[19];
    if (kind === 1) this.#setup.onAlive(prefix, "automatic");
    else if (kind === 2) this.#setup.onAlive(prefix, "manual_by_participant");
  }

  /** Sends a sign of life of all writers of a kind. */
  assertLiveliness(kind: "automatic" | "manual_by_participant"): void {
    const payload = new Uint8Array(4 + 12 + 4 + 4 + 4);
    payload[1] = 1;
    payload.set(unhex(this.#setup.prefix), 4);
    payload[19] = kind === "automatic" ? 1 : 2;
    payload[20] = 1; // One byte of data, as implementations that want some expect.
    const key = this.#setup.prefix + (kind === "automatic" ? "00000001" : "00000002");
    this.writers.get(Entity.messageWriter)!.write(payload, { key });
  }

  /** Gives signs of life often enough for the shortest lease; `Infinity`: none. */
  assertEvery(ms: number): void {
    if (ms === this.#assertMs) return;
    this.#assertMs = ms;
    this.#assertAlarm.arm(ms);
    if (ms !== Infinity) this.assertLiveliness("automatic");
  }

  /** Frees its timers. */
  close(): void {
    this.#assertAlarm.disarm();
    for (const writer of this.writers.values()) writer.close();
    for (const reader of this.readers.values()) reader.close();
  }
}

/** The endpoint that a key payload names. */
function keyGuid(payload: Uint8Array): string | undefined {
  if (payload.length < 4) return undefined;
  let guid: string | undefined;
  readParameters(payload, 4, payload.length, payload[1] === 3, (pid, value) => {
    if (pid === Pid.endpointGuid && value.length >= 16) {
      guid = hex(valueBytes(value).subarray(0, 16));
    }
  });
  return guid;
}
