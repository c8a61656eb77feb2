/**
 * How the tests run ros2: a meeting is a domain of its own, on loopback alone; what the suite sends has
 * no ROS type, so it travels as JSON in strings.
 *
 * @module
 */

import type { Fixture, Json, Meeting } from "@patchbay/core/conformance";
import ros2 from "./mod.ts";
import { openUdp } from "./rtps/mod.ts";

/** A domain in which nobody is: below 100, so that its ports are none that the system gives away. */
export async function freeDomain(): Promise<number> {
  for (let attempt = 0; attempt < 1000; attempt++) {
    const domain = 1 + crypto.getRandomValues(new Uint8Array(1))[0] % 99;
    try {
      const port = 7400 + 250 * domain + 10;
      (await openUdp({ hostname: "127.0.0.1", port })).close();
      return domain;
    } catch (error) {
      if (!(error instanceof Deno.errors.AddrInUse)) throw error;
    }
  }
  throw new Error("every domain has somebody in it");
}

function meet(domain: number): Meeting {
  return {
    options: (module, overrides) => ({
      ...overrides,
      module,
      plugins: [ros2],
      config: { ros2: { domain, range: "localhost", json: true } },
    }),
    place: { domain },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

const fixture: Fixture = {
  plugin: ros2,
  url: import.meta.url,
  layouts: ["same_process", "two_processes"],
  lacks: {
    alone: "a bay does not hear itself: in_process is for that",
    sever: "there is no connection to cut: datagrams that are lost are sent again",
    stranger:
      "a datagram that is nonsense closes nothing: rtps/fuzz_test.ts sends a million of them",
  },
  largestPayloadBytes: 16 * 1024 * 1024,
  meeting: async () => meet(await freeDomain()),
  join: (place: Json) => Promise.resolve(meet((place as { domain: number }).domain)),
  unavailable: () => {
    // Whoever asks ROS 2 for enforced security must not get a plain wire.
    const wanted = { ROS_SECURITY_ENABLE: "true", ROS_SECURITY_STRATEGY: "Enforce" };
    const before = Object.keys(wanted).map((name) => [name, Deno.env.get(name)] as const);
    for (const [name, value] of Object.entries(wanted)) Deno.env.set(name, value);
    return Promise.resolve({
      options: { module: "lonely", plugins: [ros2], config: { ros2: { range: "localhost" } } },
      reason: /no DDS Security/,
      remedy: /unset ROS_SECURITY_ENABLE/,
      [Symbol.asyncDispose]: () => {
        for (const [name, value] of before) {
          if (value === undefined) Deno.env.delete(name);
          else Deno.env.set(name, value);
        }
        return Promise.resolve();
      },
    });
  },
};

export default fixture;
