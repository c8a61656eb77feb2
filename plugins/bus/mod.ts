/**
 * bus: typed frames and the three patterns between modules, through a manager.
 *
 * @module
 */

import { type BusPlugin, createBus } from "./plugin.ts";

export type { BridgeStatus } from "./bridging/link.ts";
export type { BridgesOptions, FarModule, ManagerBridges } from "./bridging/manager_bridges.ts";
export { BusComm, type BusCommOptions } from "./bus_comm.ts";
export {
  ALL_FRAMES,
  type AskOptions,
  type Comm,
  type CommStatistics,
  type ListenForOptions,
  Priority,
} from "./comm.ts";
export type { FrameText, ShownFrame } from "./frame_text.ts";
export type { InboxOverflow } from "./frame_inbox.ts";
export { MockComm, type MockCommOptions, type SentFrame } from "./mock_comm.ts";
export {
  DEFAULT_RATE_HZ,
  type LoopOptions,
  type LoopStatistics,
  type Module,
  runLoop,
  runModule,
  type RunModuleOptions,
} from "./module_runner.ts";
export type { BusConfig, BusExtras, BusListenAddress, BusPlugin } from "./plugin.ts";
export type { Attendance, HearsView, ModuleView } from "./roster.ts";
export { type FrameOrigin, ReceivedFrame } from "./received_frame.ts";

/** The plugin. */
const bus: BusPlugin = createBus();

export default bus;
