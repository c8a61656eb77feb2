/**
 * The transport of hub wires: one bay listens at a configured address, the others dial it, and all
 * three patterns run both ways over that one connection. See decision 0006.
 *
 * @module
 */

import { PatchbayError } from "../errors.ts";
import type { Transport, TransportContext } from "../plugin.ts";
import type { SessionOptions } from "../session/session.ts";
import { HubClient } from "./hub_client.ts";
import type { HubConfig, HubDriver } from "./hub_driver.ts";

export type { HubConfig, HubDriver } from "./hub_driver.ts";
export { HUB_FIELDS } from "./hub_driver.ts";
export type { HubListenerView, HubMemberView, HubView } from "./hub_view.ts";

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
  if (driver.role === "client") return await hubClientTransport(context, driver, config, extras);
  // A worker that only dials need not load it.
  const { HubServer } = await import("./hub_server.ts");
  const hub = new HubServer(context, driver, config, sessionOf(context, config), extras);
  await hub.start();
  return hub;
}

/**
 * Makes a transport of a driver that dials: as {@link hubTransport}, for where nothing can listen. A
 * page that uses this one does not carry the hub.
 *
 * @typeParam Extras What only this wire has.
 * @param context What core gave the plugin.
 * @param driver How to dial.
 * @param config The checked configuration.
 * @param extras What only this wire has.
 * @throws {PatchbayError} `internal`: the driver listens.
 */
// deno-lint-ignore require-await -- a refusal must reject, not throw
export async function hubClientTransport<Extras>(
  context: TransportContext,
  driver: HubDriver,
  config: HubConfig,
  extras: Extras,
): Promise<Transport<Extras>> {
  if (driver.role !== "client") throw new PatchbayError("internal", "nothing can listen here");
  return new HubClient(context, driver, config, sessionOf(context, config), extras);
}

function sessionOf(context: TransportContext, config: HubConfig): Omit<SessionOptions, "host"> {
  const { codec, compression, compressionThreshold, windowBytes, maxQueueBytes } = config;
  const { heartbeatMs, heartbeatTimeoutMs } = config;
  return {
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
}
