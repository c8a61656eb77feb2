/**
 * What participants and endpoints tell each other about themselves, and its form on the wire
 * (9.6.2.2): parameter lists in either byte order.
 *
 * @module
 */

import { BUILTIN_ENDPOINTS, MULTICAST_GROUP, Pid, VENDOR_ID } from "./constants.ts";
import { hex, unhex } from "./guid.ts";
import {
  type ParameterValue,
  ParameterWriter,
  readParameters,
  valueBytes,
  valueDurationMs,
  valueLocator,
  valueOctets,
  valueString,
  valueStrings,
  valueUint32,
} from "./parameters.ts";
import { DEFAULT_QOS, DURABILITIES, LIVELINESS_KINDS, type Qos } from "./qos.ts";
import type { Address } from "./socket.ts";

/** What a participant says of itself. */
export interface ParticipantData {
  /** The 24 hexadecimal digits of its prefix. */
  readonly prefix: string;
  /** Who made it. */
  readonly vendor: number;
  /** Its domain, if it says so. */
  readonly domain?: number;
  /** Its name; may be empty. */
  readonly name: string;
  /** Bytes of the user's. */
  readonly userData: Uint8Array;
  /** Where discovery reaches it. */
  readonly metatraffic: readonly Address[];
  /** Where its endpoints are reached, unless they say otherwise. */
  readonly unicast: readonly Address[];
  /** How long it is taken for alive without a word, in milliseconds. */
  readonly leaseMs: number;
  /** Which built-in endpoints it has. */
  readonly builtin: number;
}

/** What a writer or reader says of itself. */
export interface EndpointData {
  /** Its 32 hexadecimal digits. */
  readonly guid: string;
  /** Which of the two. */
  readonly kind: "writer" | "reader";
  /** The topic. */
  readonly topic: string;
  /** The name of the topic's type. */
  readonly type: string;
  /** Its policies. */
  readonly qos: Qos;
  /** Bytes of the user's. */
  readonly userData: Uint8Array;
  /** Where it is reached, if not where its participant is. */
  readonly unicast: readonly Address[];
  /** The data representations it offers or accepts; empty: XCDR1. */
  readonly representations: readonly number[];
}

const NOTHING: Uint8Array = new Uint8Array(0);
/** A participant that names no lease has this one (9.6.2.2, table 9.14). */
const DEFAULT_LEASE_MS = 100_000;

/** The payload of a participant's announcement. */
export function writeParticipant(
  data: ParticipantData,
  multicast: Address | undefined,
): Uint8Array<ArrayBuffer> {
  const list = new ParameterWriter(true)
    .bytes(Pid.protocolVersion, Uint8Array.of(2, 2, 0, 0))
    .bytes(Pid.vendorId, Uint8Array.of(VENDOR_ID >> 8, VENDOR_ID & 255, 0, 0))
    .bytes(Pid.participantGuid, unhex(`${data.prefix}000001c1`))
    .uint32(Pid.builtinEndpointSet, BUILTIN_ENDPOINTS)
    .duration(Pid.leaseDuration, data.leaseMs);
  if (data.domain !== undefined) list.uint32(Pid.domainId, data.domain);
  for (const each of data.metatraffic) list.locator(Pid.metatrafficUnicastLocator, each);
  for (const each of data.unicast) list.locator(Pid.defaultUnicastLocator, each);
  if (multicast !== undefined) list.locator(Pid.metatrafficMulticastLocator, multicast);
  if (data.name !== "") list.string(Pid.entityName, data.name);
  if (data.userData.length > 0) list.octets(Pid.userData, data.userData);
  return list.finish();
}

/** Reads a payload's parameters, whatever its byte order; false if it is malformed. */
function readEncapsulated(
  payload: Uint8Array,
  visit: (pid: number, value: ParameterValue) => void,
): boolean {
  if (payload.length < 4 || payload[0] !== 0 || (payload[1] !== 2 && payload[1] !== 3)) {
    return false;
  }
  return readParameters(payload, 4, payload.length, payload[1] === 3, visit) >= 0;
}

/** How many locators of one kind are kept. */
const MAX_LOCATORS = 16;

function addLocator(to: Address[], value: ParameterValue): void {
  const found = valueLocator(value);
  if (found !== undefined && to.length < MAX_LOCATORS) to.push(found);
}

/**
 * Reads a participant's announcement; `undefined` if it is malformed.
 *
 * @param payload Its payload.
 * @param vendor The vendor that the packet names.
 */
export function readParticipant(payload: Uint8Array, vendor: number): ParticipantData | undefined {
  const metatraffic: Address[] = [];
  const unicast: Address[] = [];
  let prefix: string | undefined;
  let domain: number | undefined;
  let name = "";
  let userData = NOTHING;
  let leaseMs = DEFAULT_LEASE_MS;
  let builtin = 0;
  const sound = readEncapsulated(payload, (pid, value) => {
    if (pid === Pid.participantGuid && value.length >= 16) {
      prefix = hex(valueBytes(value).subarray(0, 12));
    } else if (pid === Pid.domainId) domain = valueUint32(value);
    else if (pid === Pid.entityName) name = valueString(value) ?? "";
    else if (pid === Pid.userData) userData = valueOctets(value) ?? NOTHING;
    else if (pid === Pid.leaseDuration) leaseMs = valueDurationMs(value) ?? leaseMs;
    else if (pid === Pid.builtinEndpointSet) builtin = valueUint32(value) ?? 0;
    else if (pid === Pid.metatrafficUnicastLocator) addLocator(metatraffic, value);
    else if (pid === Pid.defaultUnicastLocator) addLocator(unicast, value);
  });
  if (!sound || prefix === undefined) return undefined;
  return { prefix, vendor, domain, name, userData, metatraffic, unicast, leaseMs, builtin };
}

/** The payload with which an endpoint is announced. */
export function writeEndpoint(data: EndpointData): Uint8Array<ArrayBuffer> {
  const { qos } = data;
  const list = new ParameterWriter(true)
    .bytes(Pid.endpointGuid, unhex(data.guid))
    .bytes(Pid.participantGuid, unhex(`${data.guid.slice(0, 24)}000001c1`))
    .string(Pid.topicName, data.topic)
    .string(Pid.typeName, data.type)
    // On the wire 1 is best effort and 2 reliable; the blocking time is DDS's default of 100 ms.
    .duration(Pid.reliability, 100, qos.reliability === "reliable" ? 2 : 1)
    .uint32(Pid.durability, DURABILITIES.indexOf(qos.durability))
    .uint32(
      Pid.history,
      qos.history === "keep_last" ? 0 : 1,
      qos.history === "keep_last" ? qos.depth : 0xffffffff,
    )
    .duration(Pid.deadline, qos.deadlineMs)
    .duration(Pid.latencyBudget, qos.latencyBudgetMs)
    .duration(
      Pid.liveliness,
      qos.livelinessLeaseMs,
      LIVELINESS_KINDS.indexOf(qos.liveliness),
    )
    .uint32(Pid.ownership, qos.ownership === "shared" ? 0 : 1)
    .uint32(Pid.destinationOrder, qos.destinationOrder === "by_reception" ? 0 : 1);
  if (data.kind === "writer") list.duration(Pid.lifespan, qos.lifespanMs);
  if (qos.partition.length > 0) list.strings(Pid.partition, qos.partition);
  if (data.userData.length > 0) list.octets(Pid.userData, data.userData);
  for (const each of data.unicast) list.locator(Pid.unicastLocator, each);
  return list.finish();
}

/**
 * Reads an endpoint's announcement; `undefined` if it is malformed.
 *
 * @param payload Its payload.
 * @param kind Which of the two it announces.
 */
export function readEndpoint(
  payload: Uint8Array,
  kind: "writer" | "reader",
): EndpointData | undefined {
  // A reader that does not say asks for best effort, a writer offers reliability (DDS 1.4, 2.2.3).
  const qos: { -readonly [K in keyof Qos]: Qos[K] } = {
    ...DEFAULT_QOS,
    reliability: kind === "writer" ? "reliable" : "best_effort",
  };
  const unicast: Address[] = [];
  const representations: number[] = [];
  let guid: string | undefined;
  let topic: string | undefined;
  let type: string | undefined;
  let userData = NOTHING;
  const sound = readEncapsulated(payload, (pid, value) => {
    switch (pid) {
      case Pid.endpointGuid:
        if (value.length >= 16) guid = hex(valueBytes(value).subarray(0, 16));
        break;
      case Pid.topicName:
        topic = valueString(value);
        break;
      case Pid.typeName:
        type = valueString(value);
        break;
      case Pid.userData:
        userData = valueOctets(value) ?? NOTHING;
        break;
      case Pid.unicastLocator:
        addLocator(unicast, value);
        break;
      case Pid.dataRepresentation: {
        const count = Math.min(valueUint32(value) ?? 0, (value.length - 4) >> 1, 16);
        for (let i = 0; i < count; i++) {
          representations.push(value.view.getInt16(value.at + 4 + 2 * i, value.little));
        }
        break;
      }
      default:
        readPolicy(qos, pid, value);
    }
  });
  if (!sound || guid === undefined || topic === undefined || type === undefined) return undefined;
  return { guid, kind, topic, type, qos, userData, unicast, representations };
}

function readPolicy(
  qos: { -readonly [K in keyof Qos]: Qos[K] },
  pid: number,
  value: ParameterValue,
): void {
  const kind = valueUint32(value);
  if (kind === undefined) return;
  switch (pid) {
    case Pid.reliability:
      qos.reliability = kind >= 2 ? "reliable" : "best_effort";
      break;
    case Pid.durability:
      qos.durability = DURABILITIES[kind] ?? "volatile";
      break;
    case Pid.history:
      qos.history = kind === 0 ? "keep_last" : "keep_all";
      qos.depth = Math.max(1, valueUint32(value, 4) ?? 1);
      break;
    case Pid.deadline:
      qos.deadlineMs = valueDurationMs(value) ?? Infinity;
      break;
    case Pid.latencyBudget:
      qos.latencyBudgetMs = valueDurationMs(value) ?? 0;
      break;
    case Pid.lifespan:
      qos.lifespanMs = valueDurationMs(value) ?? Infinity;
      break;
    case Pid.liveliness:
      qos.liveliness = LIVELINESS_KINDS[kind] ?? "automatic";
      qos.livelinessLeaseMs = valueDurationMs(value, 4) ?? Infinity;
      break;
    case Pid.ownership:
      qos.ownership = kind === 1 ? "exclusive" : "shared";
      break;
    case Pid.destinationOrder:
      qos.destinationOrder = kind === 1 ? "by_source" : "by_reception";
      break;
    case Pid.partition:
      qos.partition = valueStrings(value) ?? [];
      break;
  }
}

/** Where a domain's participants announce themselves. */
export function multicastAddress(port: number): Address {
  return { hostname: MULTICAST_GROUP, port };
}
