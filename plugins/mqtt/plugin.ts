/**
 * The mqtt plugin: what it declares.
 *
 * @module
 */

import { configSchema, deriveJobs, type Plugin } from "@patchbay/core";
import { complaint, fields, MAX_PAYLOAD_BYTES, type MqttConfig, withUrl } from "./config.ts";
import type { MqttExtras } from "./extras.ts";
import { MqttTransport } from "./transport.ts";

/** The type of the plugin. */
export type MqttPlugin = Plugin<
  "mqtt",
  { readonly callable: true; readonly speaker: true; readonly job: true },
  MqttConfig,
  MqttExtras
>;

/** What the embedded broker cannot do, for `doctor`. */
const EMBEDDED =
  "embedded broker: MQTT 3.1.1 only, no TLS, no passwords, no shared subscriptions, no message " +
  "expiry; sessions and retained messages are in memory and end with the bay that hosts it";

/**
 * Makes the plugin.
 *
 * @param delivery How speakers deliver if the configuration says nothing: with QoS 0, or 1.
 */
export function createMqtt(delivery: "at_most_once" | "at_least_once"): MqttPlugin {
  const durable = delivery === "at_least_once";
  return {
    name: "mqtt",
    summary: durable
      ? "over an MQTT broker; shouts with QoS 1, at least once"
      : "over an MQTT broker, or one embedded in a bay; readable with mosquitto_sub",
    capabilities: { callable: true, speaker: true, job: true },
    scope: "network",
    rank: 50,
    traits: {
      ordered: true,
      delivery,
      retained: true,
      headers: true,
      job: "derived",
      maxPayloadBytes: MAX_PAYLOAD_BYTES,
      zeroCopy: false,
      values: false,
      backpressure: false,
      noticesDeath: true,
    },
    config: configSchema<MqttConfig>(fields(durable ? 1 : 0)),
    permissions(given) {
      const { host, port } = withUrl(given);
      return [`--allow-net=${host.includes(":") ? `[${host}]` : host}:${port}`];
    },
    available: (config) =>
      complaint(config) ??
        (config.broker === "embedded"
          ? { available: true, detail: EMBEDDED }
          : { available: true }),
    async open(context, given) {
      return deriveJobs(await MqttTransport.open(context, withUrl(given)), context);
    },
  };
}
