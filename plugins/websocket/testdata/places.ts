/**
 * For tests: hubs and clients on the loopback interface, and how what they do is waited for.
 *
 * @module
 */

import assert from "node:assert/strict";
import { type Bay, open, type OpenOptions, PatchbayError } from "@patchbay/core";
import websocket, { type WebSocketConfig } from "../node.ts";

/** How long anything may take before it is taken to hang, in milliseconds. */
const WATCHDOG_MS = 30_000;
const QUICK = { reconnectMinMs: 10, reconnectMaxMs: 100, connectTimeoutMs: 2000 };

/** The promise, or a failure that names what did not end. */
export async function settled<T>(what: string, promise: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} did not end`)), WATCHDOG_MS);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Waits for a condition. */
export async function until(what: string, check: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + WATCHDOG_MS;
  while (!await check()) {
    if (performance.now() > deadline) throw new Error(`waited in vain for ${what}`);
    await new Promise<void>((resolve) => setTimeout(resolve, 1));
  }
}

/** Opens a bay with this wire alone. */
export function bay(
  module: string,
  config: Partial<WebSocketConfig>,
  reports?: PatchbayError[],
  more: Partial<OpenOptions> = {},
) {
  return open({
    ...more,
    module,
    plugins: [websocket],
    config: { websocket: { ...QUICK, ...config } },
    onReport: (error) => void reports?.push(error),
  });
}

/** Opens a hub on a free port. */
export async function hubAt(
  config: Partial<WebSocketConfig> = {},
  reports: PatchbayError[] = [],
  more: Partial<OpenOptions> = {},
) {
  const listen = { hostname: "127.0.0.1", port: 0, ...config.listen };
  const hub = await bay("hub", { ...config, listen }, reports, more);
  const [wire] = hub.wires();
  assert.ok(wire.open, wire.reason ?? "it is closed");
  return { hub, url: hub.transport(websocket).url };
}

/** The wire's counters. */
export function counted(of: Bay) {
  const [wire] = of.statistics.snapshot(Date.now()).transports;
  return wire;
}

/** What a promise is refused with. */
export async function refused(promise: Promise<unknown>, code: string): Promise<PatchbayError> {
  const error = await settled(`a ${code}`, promise.then(() => undefined, (e) => e));
  assert.ok(error instanceof PatchbayError, `nothing was refused, or by ${error}`);
  assert.equal(error.code, code, error.message);
  return error;
}
