/**
 * What contracts and calls say that MQTT calls an endpoint instead of its address.
 *
 * @module
 */

import { type NativeNames, PatchbayError } from "@patchbay/core";
import type { QoS } from "./config.ts";

/** A topic of one's own, and how it is used: `native: { mqtt: { topic: "plant/line/1" } }`. */
export interface NativeTopic {
  /** The topic; where one listens, a filter with `+` and `#`. */
  readonly topic: string;
  /** The quality of service; default: the configuration's. */
  readonly qos?: QoS;
  /** The broker forgets a message after this time, in milliseconds. MQTT 5. */
  readonly expiryMs?: number;
}

/**
 * Reads what a contract or call says; a text is a topic.
 *
 * @param native What it says.
 * @throws {PatchbayError} `invalid`.
 */
export function nativeTopic(native: NativeNames | undefined): NativeTopic | undefined {
  const given = native?.mqtt;
  if (given === undefined) return undefined;
  const told = typeof given === "string" ? { topic: given } : given as Partial<NativeTopic>;
  const { topic, qos, expiryMs } = told ?? {};
  const problem = typeof topic !== "string" || topic === ""
    ? "`topic` is no text"
    : qos !== undefined && ![0, 1, 2].includes(qos)
    ? "`qos` is none of 0, 1 and 2"
    : expiryMs !== undefined && !(expiryMs > 0)
    ? "`expiryMs` is no time"
    : undefined;
  if (problem === undefined) return told as NativeTopic;
  throw new PatchbayError("invalid", `native.mqtt: ${problem}`, {
    details: { path: "native.mqtt" },
    remedy: 'write native: { mqtt: "plant/line/1" } or { mqtt: { topic: "plant/line/1", qos: 1 } }',
  });
}
