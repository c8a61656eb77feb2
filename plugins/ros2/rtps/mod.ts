/**
 * RTPS 2.2, the wire protocol of DDS, over UDP: participants that find each other, writers and
 * readers of topics, best-effort and reliable. It knows nothing of ROS.
 *
 * @module
 */

export type { EndpointData, ParticipantData } from "./discovery_data.ts";
export type { HistoryLimits } from "./history.ts";
export { Participant } from "./participant.ts";
export type {
  EndpointOptions,
  ParticipantEvents,
  ParticipantOptions,
  ParticipantStatistics,
  ReaderOptions,
  WriterOptions,
} from "./participant_options.ts";
export {
  DEFAULT_QOS,
  type Durability,
  type LivelinessKind,
  type Mismatch,
  type MismatchPolicy,
  type Qos,
  type Reliability,
} from "./qos.ts";
export type {
  InstanceState,
  LossReason,
  Reader,
  ReaderEvents,
  ReaderStatistics,
  Sample,
  WriteOptions,
  Writer,
  WriterEvents,
  WriterStatistics,
} from "./endpoints.ts";
export type { WhyLost } from "./discovery.ts";
export type { Address, Datagram, DatagramSocket, OpenSocket, SocketOptions } from "./socket.ts";
export { openUdp, udpUnavailable } from "./socket.ts";
export { hex, unhex } from "./guid.ts";
export { MULTICAST_GROUP, Pid, VENDOR_ID, VENDORS } from "./constants.ts";
