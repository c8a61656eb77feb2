/**
 * The numbers of RTPS: kinds of submessages, entity ids, parameter ids, ports. Sections are those
 * of the OMG's DDSI-RTPS 2.5.
 *
 * @module
 */

/** Kinds of submessages (9.4.5.1.1). */
export const Submessage = {
  pad: 0x01,
  ackNack: 0x06,
  heartbeat: 0x07,
  gap: 0x08,
  infoTimestamp: 0x09,
  infoSource: 0x0c,
  infoReplyIp4: 0x0d,
  infoDestination: 0x0e,
  infoReply: 0x0f,
  nackFrag: 0x12,
  heartbeatFrag: 0x13,
  data: 0x15,
  dataFrag: 0x16,
} as const;

/** Entity ids of the built-in endpoints (9.3.1.5), as big-endian numbers. */
export const Entity = {
  unknown: 0x00000000,
  participant: 0x000001c1,
  spdpWriter: 0x000100c2,
  spdpReader: 0x000100c7,
  publicationsWriter: 0x000003c2,
  publicationsReader: 0x000003c7,
  subscriptionsWriter: 0x000004c2,
  subscriptionsReader: 0x000004c7,
  messageWriter: 0x000200c2,
  messageReader: 0x000200c7,
} as const;

/** The last byte of an entity id of the user's (9.3.1.2). */
export const EntityKind = {
  writerWithKey: 0x02,
  writerNoKey: 0x03,
  readerNoKey: 0x04,
  readerWithKey: 0x07,
} as const;

/** Parameter ids (9.6.4). */
export const Pid = {
  pad: 0x0000,
  sentinel: 0x0001,
  leaseDuration: 0x0002,
  topicName: 0x0005,
  typeName: 0x0007,
  domainId: 0x000f,
  protocolVersion: 0x0015,
  vendorId: 0x0016,
  reliability: 0x001a,
  liveliness: 0x001b,
  durability: 0x001d,
  ownership: 0x001f,
  presentation: 0x0021,
  deadline: 0x0023,
  destinationOrder: 0x0025,
  latencyBudget: 0x0027,
  partition: 0x0029,
  lifespan: 0x002b,
  userData: 0x002c,
  unicastLocator: 0x002f,
  defaultUnicastLocator: 0x0031,
  metatrafficUnicastLocator: 0x0032,
  metatrafficMulticastLocator: 0x0033,
  history: 0x0040,
  participantGuid: 0x0050,
  builtinEndpointSet: 0x0058,
  endpointGuid: 0x005a,
  entityName: 0x0062,
  keyHash: 0x0070,
  statusInfo: 0x0071,
  dataRepresentation: 0x0073,
} as const;

/** Bits of the status (9.6.4.9). */
export const Status = { disposed: 1, unregistered: 2 } as const;

/**
 * The built-in endpoints that a participant here has (9.3.2.12): announcing and detecting
 * participants, publications and subscriptions (bits 0 to 5), and the liveliness of writers
 * (bits 10 and 11).
 */
export const BUILTIN_ENDPOINTS = 0xc3f;

/** Ours: not assigned by the OMG, as Patchbay is no vendor of DDS. */
export const VENDOR_ID = 0x01dd;

/** The vendor id of Fast DDS. */
export const EPROSIMA = 0x010f;

/** Who made the other side, as far as known: the OMG's list of vendor ids. */
export const VENDORS: Readonly<Record<number, string>> = {
  0x0101: "RTI Connext",
  0x0103: "OpenDDS",
  [EPROSIMA]: "eProsima Fast DDS",
  0x0110: "Eclipse Cyclone DDS",
  0x0112: "RustDDS",
  [VENDOR_ID]: "Patchbay",
};

/** Ports (9.6.2.3): 7400 + 250 × domain, and so on. */
export const Port = {
  base: 7400,
  perDomain: 250,
  perParticipant: 2,
  metatrafficMulticast: 0,
  metatrafficUnicast: 10,
  userUnicast: 11,
} as const;

/** The multicast group in which participants announce themselves (9.6.2.4.1). */
export const MULTICAST_GROUP = "239.255.0.1";

/** The domains whose ports fit below 65,536, with room for ten participants. */
export const MAX_DOMAIN = 232;

/** The largest payload of a UDP datagram over IPv4. */
export const MAX_DATAGRAM_BYTES = 65_507;
