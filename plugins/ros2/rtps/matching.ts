/**
 * Whether a writer and a reader meet: the topic, its type, and the policies.
 *
 * @module
 */

import type { EndpointData } from "./discovery_data.ts";
import { prefixOf } from "./guid.ts";
import { type Mismatch, mismatches } from "./qos.ts";

/** The representation that is written here: XCDR version 1. */
const XCDR1 = 0;
const NAMES: Readonly<Record<number, string>> = { 0: "XCDR1", 1: "XML", 2: "XCDR2" };

function names(representations: readonly number[]): string {
  return representations.map((each) => NAMES[each] ?? String(each)).join(" or ");
}

/** How many endpoints of one participant one endpoint here is matched with. */
const MAX_MATCHES = 256;

/**
 * Whether another endpoint of its participant can be matched: each of them costs a copy of all that
 * is sent.
 *
 * @param guid The endpoint.
 * @param matched Those that are matched.
 */
export function hasPlaceFor(guid: string, matched: ReadonlyMap<string, unknown>): boolean {
  if (matched.size < MAX_MATCHES || matched.has(guid)) return true;
  const prefix = prefixOf(guid);
  let count = 0;
  for (const other of matched.keys()) if (other.startsWith(prefix)) count++;
  return count < MAX_MATCHES;
}

/**
 * Compares two endpoints, one a writer, the other a reader.
 *
 * @returns `undefined` if they are of different topics or of one kind; else by what they fail to
 * meet, which is nothing when they match.
 */
export function matchEndpoints(a: EndpointData, b: EndpointData): Mismatch[] | undefined {
  if (a.topic !== b.topic || a.kind === b.kind) return undefined;
  const [writer, reader] = a.kind === "writer" ? [a, b] : [b, a];
  const wrong = mismatches(writer.qos, reader.qos);
  if (writer.type !== reader.type) {
    wrong.unshift({ policy: "type", offered: writer.type, requested: reader.type });
  }
  const offered = writer.representations.length > 0 ? writer.representations[0] : XCDR1;
  const accepted = reader.representations.length > 0 ? reader.representations : [XCDR1];
  if (!accepted.includes(offered)) {
    wrong.push({
      policy: "data_representation",
      offered: names([offered]),
      requested: names(accepted),
    });
  }
  return wrong;
}
