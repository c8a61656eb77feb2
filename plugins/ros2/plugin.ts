/**
 * The ros2 plugin: what it declares.
 *
 * @module
 */

import { configSchema, PatchbayError, type Plugin } from "@patchbay/core";
import { availability, FIELDS, permissionsOf, type Ros2Config, settingsOf } from "./config.ts";
import { type Ros2Extras, Ros2Transport } from "./transport.ts";

/** The type of the plugin. */
export type Ros2Plugin = Plugin<
  "ros2",
  { readonly callable: true; readonly speaker: true; readonly job: true },
  Ros2Config,
  Ros2Extras
>;

/** The largest payload that can be configured, in bytes: with base64 it stays below 1 GiB. */
const MAX_PAYLOAD_BYTES = 512 * 1024 * 1024;

/** The plugin. */
export const ros2: Ros2Plugin = {
  name: "ros2",
  summary: "a ROS 2 node, with no ROS installed: topics, services and actions over RTPS",
  capabilities: { callable: true, speaker: true, job: true },
  scope: "network",
  rank: 60,
  traits: {
    ordered: true,
    delivery: "at_most_once",
    retained: true,
    headers: true,
    job: "native",
    maxPayloadBytes: MAX_PAYLOAD_BYTES,
    zeroCopy: false,
    values: false,
    // A listener that is full does not hold its writers back: DDS drops the oldest instead.
    backpressure: false,
    // Who dies without a word is missed when its lease is over.
    noticesDeath: false,
  },
  config: configSchema<Ros2Config>(FIELDS),
  permissions: permissionsOf,
  available: (config) => availability(config),
  async open(context, config) {
    const settings = settingsOf(config);
    const transport = await Ros2Transport.open(context, config, settings);
    if (settings.plain) {
      context.report(
        new PatchbayError(
          "unauthenticated",
          "ROS_SECURITY_ENABLE is true, but ros2 has no DDS Security: it goes on without",
          { transport: context.name, remedy: "set ROS_SECURITY_STRATEGY=Enforce to refuse that" },
        ),
      );
    }
    return transport;
  },
};
