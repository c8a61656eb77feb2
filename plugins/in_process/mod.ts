/**
 * in_process: the three patterns inside one process, by values. No bytes, no copies, no timers of
 * its own.
 *
 * @module
 */

import { configSchema, type Plugin } from "@patchbay/core";
import { Room } from "./room.ts";
import { InProcess } from "./transport.ts";

export { Room, Stand } from "./room.ts";

/** The configuration of in_process. */
export interface InProcessConfig {
  /** Where bays meet; default: a room of this bay's own. */
  room?: Room;
  /** Check that values are portable and freeze them, to find receivers that mutate. */
  checkValues: boolean;
}

/** What only in_process has. */
export interface InProcessExtras {
  /** The room this bay is in; pass it to another bay to join the two. */
  readonly room: Room;
}

/** The plugin. */
const inProcess: Plugin<
  "in_process",
  { readonly callable: true; readonly speaker: true; readonly job: true },
  InProcessConfig,
  InProcessExtras
> = {
  name: "in_process",
  summary: "inside one process, by values: no bytes, no copies",
  capabilities: { callable: true, speaker: true, job: true },
  scope: "process",
  rank: 0,
  traits: {
    ordered: true,
    delivery: "at_most_once",
    retained: true,
    headers: true,
    job: "native",
    maxPayloadBytes: Infinity,
    zeroCopy: true,
    values: true,
    backpressure: true,
    noticesDeath: true,
  },
  config: configSchema<InProcessConfig>({
    room: { kind: "object", description: "where bays meet; default: a room of this bay's own" },
    checkValues: {
      kind: "boolean",
      description: "check that values are portable, and freeze them",
      default: false,
    },
  }),
  available: () => ({ available: true }),
  open: (context, config) =>
    Promise.resolve(new InProcess(context, config.room ?? new Room(), config.checkValues)),
};

export default inProcess;
