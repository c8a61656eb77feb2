/**
 * `patchbay broker`: the embedded MQTT broker, in a process of its own.
 *
 * @module
 */

import { PatchbayError } from "@patchbay/core";
import { pathToFileURL } from "node:url";
import type { CommonOptions, Context } from "../context.ts";
import { EXIT } from "../complaint.ts";
import { until } from "../until.ts";

/** The options of `broker`. */
export interface BrokerCommandOptions extends CommonOptions {
  /** The interface. */
  readonly host?: string;
  /** The port. */
  readonly port?: number;
}

/** What the plugin of MQTT gives; the command knows it by its name only. */
interface BrokerModule {
  readonly EmbeddedBroker: {
    start(options: { host?: string; port?: number }): Promise<
      AsyncDisposable & { readonly host: string; readonly port: number }
    >;
  };
}

/** Not literal: its npm packages are fetched by those who ask for a broker only. */
const BROKER = ["@patchbay/mqtt", "broker"].join("/");

async function load(): Promise<BrokerModule> {
  const near = pathToFileURL(`${Deno.cwd()}/plugins/mqtt/embedded.ts`).href;
  let first: unknown;
  for (const name of [BROKER, near]) {
    try {
      return await import(name) as BrokerModule;
    } catch (error) {
      first ??= error;
    }
  }
  throw new PatchbayError("unavailable", "the plugin of MQTT was not found", {
    retryable: false,
    remedy: `add ${BROKER.slice(0, BROKER.lastIndexOf("/"))} to the imports of deno.json, or put ` +
      "its folder into ./plugins; or run mosquitto",
    cause: first,
  });
}

/**
 * Runs a broker until it is told to stop.
 *
 * @param context The surroundings.
 * @param options Where it listens, and what every command has.
 */
export async function broker(context: Context, options: BrokerCommandOptions): Promise<number> {
  const { screen } = context;
  const { host = "127.0.0.1", port = 1883, timeout: timeoutMs } = options;
  const stop = context.interrupted;
  const { EmbeddedBroker } = await load();
  let running;
  try {
    running = await EmbeddedBroker.start({ host, port });
  } catch (cause) {
    const taken = (cause as { code?: string }).code === "EADDRINUSE";
    throw new PatchbayError(
      "unavailable",
      `${host}:${port}: ${taken ? "something listens there already" : (cause as Error).message}`,
      {
        retryable: false,
        remedy: taken ? "use that one, or --port another" : "choose another --host or --port",
        cause,
      },
    );
  }
  await using open = running;
  const url = `mqtt://${open.host}:${open.port}`;
  // A service manager waits for this line: it may start what needs the broker.
  if (screen.json) screen.value({ event: "ready", url, pid: Deno.pid });
  else {
    screen.line(`broker: ready at ${url}`);
    screen.line(
      "MQTT 3.1.1; no TLS, no passwords, no shared subscriptions; what it keeps ends with it",
    );
  }
  await until(stop, { timeoutMs });
  return EXIT.ok;
}
