/**
 * How the tests run mqtt: a meeting is a broker of its own, reached through a proxy that can cut.
 *
 * @module
 */

import {
  CuttingProxy,
  type Fixture,
  freePort,
  type Json,
  type Meeting,
} from "@patchbay/core/conformance";
import { EmbeddedBroker } from "./embedded.ts";
import mqtt, { durable, type MqttPlugin } from "./mod.ts";
import { Mosquitto } from "./mosquitto_fixture.ts";

/** Patience of the tests: connections are made anew at once. */
const QUICK = { reconnectMinMs: 10, reconnectMaxMs: 200 };

/** Which broker, and how it is spoken to. */
interface Kind {
  readonly broker: "mosquitto" | "aedes";
  readonly version: "auto" | "5" | "3.1.1";
  readonly durable: boolean;
}

function meet(kind: Kind, port: number, more: Partial<Meeting> & AsyncDisposable): Meeting {
  const plugin: MqttPlugin = kind.durable ? durable : mqtt;
  return {
    ...more,
    options: (module, overrides) => ({
      ...overrides,
      module,
      plugins: [plugin],
      config: { mqtt: { ...QUICK, port, version: kind.version } },
    }),
    place: { ...kind, port },
  };
}

async function meeting(kind: Kind): Promise<Meeting> {
  const broker = kind.broker === "mosquitto"
    ? await Mosquitto.start()
    : await EmbeddedBroker.start({ port: 0 });
  const proxy = new CuttingProxy(broker.port);
  return meet(kind, proxy.port, {
    // deno-lint-ignore require-await
    sever: async () => proxy.cut(),
    [Symbol.asyncDispose]: async () => {
      await proxy.close();
      await broker[Symbol.asyncDispose]();
    },
  });
}

function join(place: Json): Promise<Meeting> {
  const known = place as unknown as Kind & { port: number };
  return Promise.resolve(
    meet(known, known.port, { [Symbol.asyncDispose]: () => Promise.resolve() }),
  );
}

function make(name: string, kind: Kind): Fixture {
  return {
    plugin: kind.durable ? durable : mqtt,
    name,
    url: import.meta.url,
    layouts: ["same_process", "two_processes"],
    lacks: {
      alone: "a bay does not hear itself: in_process is for that",
      stranger: "a bay listens nowhere: strangers speak to the broker",
    },
    largestPayloadBytes: 16 * 1024 * 1024,
    meeting: () => meeting(kind),
    join,
    unavailable: () => {
      const port = freePort();
      return Promise.resolve({
        options: { module: "lonely", plugins: [mqtt], config: { mqtt: { port } } },
        reason: new RegExp(`127\\.0\\.0\\.1:${port} cannot be reached: the connection was refused`),
        remedy: /mosquitto/,
        [Symbol.asyncDispose]: () => Promise.resolve(),
      });
    },
  };
}

/** MQTT 5 and mosquitto. */
const fixture: Fixture = make("mqtt", { broker: "mosquitto", version: "5", durable: false });

/** The same with QoS 1. */
export const atLeastOnce: Fixture = make("mqtt (durable)", {
  broker: "mosquitto",
  version: "5",
  durable: true,
});

/** MQTT 3.1.1 and mosquitto. */
export const older: Fixture = make("mqtt (3.1.1)", {
  broker: "mosquitto",
  version: "3.1.1",
  durable: false,
});

/** The embedded broker. */
export const embedded: Fixture = make("mqtt (embedded)", {
  broker: "aedes",
  version: "auto",
  durable: false,
});

export default fixture;
