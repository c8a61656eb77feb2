/**
 * mqtt: the three patterns over an MQTT broker, in MQTT 5 and 3.1.1. Payloads are plain JSON, so that
 * `mosquitto_sub`, `mosquitto_pub` and every device that speaks MQTT can take part.
 *
 * @module
 */

import { createMqtt, type MqttPlugin } from "./plugin.ts";

export type { MqttConfig, QoS, Will } from "./config.ts";
export type { MqttExtras, TopicMessage, TopicOptions } from "./extras.ts";
export type { NativeTopic } from "./native.ts";
export type { MqttPlugin } from "./plugin.ts";

/**
 * The plugin. Shouts go with QoS 0, at most once, unless `config.mqtt` says otherwise.
 *
 * @example
 * ```ts ignore
 * import { Patchbay } from "@patchbay/core";
 * import mqtt from "@patchbay/mqtt";
 *
 * await using bay = await Patchbay.open({
 *   module: "desk",
 *   plugins: [mqtt],
 *   config: { mqtt: { broker: "embedded" } },
 * });
 * console.log(await bay.call("arm/move", 3));
 * ```
 */
const mqtt: MqttPlugin = createMqtt("at_most_once");

/** The same with all shouts with QoS 1, at least once. Pass one of the two. */
export const durable: MqttPlugin = createMqtt("at_least_once");

export default mqtt;
