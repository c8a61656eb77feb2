/**
 * The transport of hub wires: one bay listens at a configured address, the others dial it, and all
 * three patterns run both ways over that one connection. See decision 0006.
 *
 * @module
 */

import type { Transport, TransportContext } from "../plugin.ts";
import type { SessionOptions } from "../session/session.ts";
import { HubClient } from "./hub_client.ts";
import type { HubConfig, HubDriver } from "./hub_driver.ts";
import { HubServer } from "./hub_server.ts";

export type { HubConfig, HubDriver } from "./hub_driver.ts";
export { HUB_FIELDS } from "./hub_driver.ts";

/**
 * Makes a transport of a hub driver: this bay is the hub, or a client of it.
 *
 * @typeParam Extras What only this wire has.
 * @param context What core gave the plugin.
 * @param driver How to listen, or to dial.
 * @param config The checked configuration.
 * @param extras What only this wire has.
 * @throws {PatchbayError} Of a hub: what listening threw.
 */
export async function hubTransport<Extras>(
  context: TransportContext,
  driver: HubDriver,
  config: HubConfig,
  extras: Extras,
): Promise<Transport<Extras>> {
  const { codec, compression, compressionThreshold, windowBytes, maxQueueBytes } = config;
  const { heartbeatMs, heartbeatTimeoutMs } = config;
  const session: Omit<SessionOptions, "host"> = {
    transport: context.name,
    identity: context.identity,
    timers: context.timers,
    codecs: context.codecs,
    codec,
    compression,
    compressionThreshold,
    maxMessageBytes: config.maxMessageBytes ?? context.maxMessageBytes,
    windowBytes,
    maxQueueBytes,
    handshakeMs: config.connectTimeoutMs,
    heartbeatMs,
    missedHeartbeats: heartbeatMs > 0 && heartbeatTimeoutMs !== undefined
      ? Math.max(1, Math.ceil(heartbeatTimeoutMs / heartbeatMs))
      : undefined,
    statistics: context.statistics,
    authorize: context.authorize,
    report: (error) => context.report(error),
  };
  if (driver.role === "client") return new HubClient(context, driver, config, session, extras);
  const hub = new HubServer(context, driver, config, session, extras);
  await hub.start();
  return hub;
}
