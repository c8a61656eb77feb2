/**
 * Messages as MQTT carries them: what comes with one, what goes with one, and how large it is.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import type { IClientPublishOptions } from "npm:mqtt@5.16.0";
import type { QoS } from "./config.ts";

/** A message as it arrives. */
export interface Packet {
  /** Its quality of service. */
  readonly qos: QoS;
  /** Whether the broker has kept it. */
  readonly retain: boolean;
  /** Whether it was sent before. */
  readonly dup: boolean;
  /** Its number. */
  readonly messageId?: number;
  /** MQTT 5. */
  readonly properties?: {
    readonly responseTopic?: string;
    readonly correlationData?: Buffer;
    readonly contentType?: string;
    readonly userProperties?: Readonly<Record<string, string | string[]>>;
    readonly subscriptionIdentifier?: number | number[];
  };
}

/** What goes with a message. */
export type Properties = NonNullable<IClientPublishOptions["properties"]>;

/** How a message is sent. */
export interface PublishOptions {
  /** Its quality of service. */
  readonly qos: QoS;
  /** Whether the broker keeps it. */
  readonly retain?: boolean;
  /** MQTT 5. */
  readonly properties?: Properties;
}

/** Fixed header, the topic's length, the number, the properties' length: sections 2.1 and 3.3. */
const HEADER_BYTES = 13;

/**
 * The most bytes that a message takes on the wire.
 *
 * @param topic Its topic.
 * @param data Its payload.
 * @param properties What goes with it.
 */
export function packetBytes(topic: string, data: string | Buffer, properties?: Properties): number {
  let bytes = HEADER_BYTES + size(topic) + (typeof data === "string" ? size(data) : data.length);
  if (properties === undefined) return bytes;
  const { responseTopic, correlationData, contentType, userProperties } = properties;
  if (properties.messageExpiryInterval !== undefined) bytes += 5;
  if (responseTopic !== undefined) bytes += 3 + size(responseTopic);
  if (correlationData !== undefined) bytes += 3 + correlationData.length;
  if (contentType !== undefined) bytes += 3 + size(contentType);
  for (const [name, value] of Object.entries(userProperties ?? {})) {
    for (const each of Array.isArray(value) ? value : [value]) bytes += 5 + size(name) + size(each);
  }
  return bytes;
}

function size(text: string): number {
  return Buffer.byteLength(text);
}
