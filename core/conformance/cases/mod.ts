/**
 * All cases, in the order in which they are easiest to read when many fail.
 *
 * @module
 */

import type { Case } from "../case.ts";
import { CALLABLE } from "./callable.ts";
import { FAILURE } from "./failure.ts";
import { JOB } from "./job.ts";
import { JOB_ENDS } from "./job_ends.ts";
import { LENT } from "./lent.ts";
import { LIFECYCLE } from "./lifecycle.ts";
import { LISTENER } from "./listener.ts";
import { PAYLOADS } from "./payloads.ts";
import { SERVERS } from "./servers.ts";
import { SPEAKER } from "./speaker.ts";

/** Every case of the suite. */
export const CASES: readonly Case[] = [
  ...LIFECYCLE,
  ...PAYLOADS,
  ...CALLABLE,
  ...SERVERS,
  ...SPEAKER,
  ...LISTENER,
  ...LENT,
  ...JOB,
  ...JOB_ENDS,
  ...FAILURE,
];
