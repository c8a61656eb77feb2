/**
 * Patchbay's core: the three patterns, their contracts, the plugin contract, the session protocol,
 * codecs, queues and errors. It knows no transport and no operating system, and runs in a browser.
 *
 * @module
 */

export * from "./address.ts";
export * from "./bay.ts";
export * from "./bay_types.ts";
export type { Bridge, BridgeDirectionStatus } from "./bridge/bridge.ts";
export type { CarriedStatus } from "./bridge/direction.ts";
export type { BridgeOptions } from "./bridge/options.ts";
export { BRIDGE_TTL, readStamp, type Stamp, STAMP_HEADER, stamped } from "./bridge/stamp.ts";
export { BytesView } from "./bytes_view.ts";
export type { Epoch } from "./epoch.ts";
export { Served } from "./served.ts";
export {
  Callable,
  type CallBinding,
  type CallHandler,
  type CallOptions,
  type CallRouter,
  type CallSink,
  type HandlerContext,
  type Headers,
  type OutboundCall,
  type ServeOptions,
  type ServerSchemas,
} from "./callable.ts";
export type { Choice, Consideration, Wire } from "./choice.ts";
export { CallableEndpoint } from "./callable_endpoint.ts";
export * from "./codec.ts";
export * from "./compression.ts";
export * from "./config.ts";
export * from "./contract.ts";
export { deriveJobs } from "./derived_job.ts";
export * from "./directory.ts";
export * from "./errors.ts";
export { type CallNotes, HandledCall } from "./handled_call.ts";
export * from "./histogram.ts";
export { guardReport, type Report, runHook } from "./hook.ts";
export {
  type ExecuteOptions,
  type JobBinding,
  JobHandle,
  type JobState,
  type OutboundJob,
  type PendingJob,
} from "./job.ts";
export * from "./job_endpoint.ts";
export * from "./layer.ts";
export * from "./layers/chaos.ts";
export * from "./layers/forwarded.ts";
export * from "./layers/retry.ts";
export * from "./layers/tracing.ts";
export { slotBytes, type SlotPlace, SlotReader, SlotWriter } from "./latest_slot.ts";
export * from "./listener.ts";
export * from "./listener_endpoint.ts";
export * from "./listener_source.ts";
export { isLoopback } from "./loopback.ts";
export { Notices } from "./notices.ts";
export * from "./offers.ts";
export * from "./open.ts";
export {
  contentTypeOf,
  type PayloadForm,
  type PlainPayload,
  PlainPayloads,
} from "./plain_payloads.ts";
export * from "./plugin.ts";
export * from "./prometheus.ts";
export { Fifo, type Overflow, OVERFLOWS } from "./queue.ts";
export * from "./ring.ts";
export * from "./schema.ts";
export { sameSecret } from "./secret.ts";
export { SequenceWindow } from "./sequence_window.ts";
export * from "./server_access.ts";
export * from "./speaker.ts";
export * from "./statistics.ts";
export * from "./telemetry.ts";
export * from "./timer_wheel.ts";
export * from "./values.ts";
export * from "./whereabouts.ts";
export * from "./link.ts";
export * from "./link_plugin.ts";
export { directoryTransport } from "./topology/directory_transport.ts";
export * from "./topology/hub_transport.ts";
export { MAX_FRAME_BYTES } from "./session/envelope.ts";
