/**
 * All cases, in the order in which they are easiest to read when many fail.
 *
 * @module
 */

import type { Case } from "../case.ts";
import { CALLABLE } from "./callable.ts";
import { LIFECYCLE } from "./lifecycle.ts";
import { PAYLOADS } from "./payloads.ts";
import { SERVERS } from "./servers.ts";

/** Every case of the suite. */
export const CASES: readonly Case[] = [
  ...LIFECYCLE,
  ...PAYLOADS,
  ...CALLABLE,
  ...SERVERS,
];
