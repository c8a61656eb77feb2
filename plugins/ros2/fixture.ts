/**
 * How the tests run ros2: a meeting is a domain of its own, on loopback alone; what the suite sends has
 * no ROS type, so it travels as JSON in strings.
 *
 * @module
 */

import type { Fixture, Json, Meeting } from "@patchbay/core/conformance";
import ros2 from "./mod.ts";

/** Binds a datagram socket: its types are in the unstable library only. */
const { listenDatagram } = Deno as unknown as {
  listenDatagram(options: { transport: "udp"; hostname: string; port: number }): Disposable & {
    close(): void;
  };
};

/** The highest domain all of whose ports the system gives to nobody who asks for any. */
const MAX_DOMAIN = 100;

/**
 * A domain that no other test has until it is given back, in this process or in another: held by a
 * port of it that RTPS leaves alone (9.6.1.1: between those for multicast and those of the first
 * participant).
 */
export class OwnDomain implements Disposable {
  readonly #lock: { close(): void };
  /** Its number. */
  readonly number: number;

  /** Takes any that nobody is in. */
  constructor() {
    const from = crypto.getRandomValues(new Uint8Array(1))[0];
    for (let i = 0; i < MAX_DOMAIN; i++) {
      const number = 1 + (from + i) % MAX_DOMAIN;
      const lock = OwnDomain.#take(number);
      if (lock === undefined) continue;
      this.number = number;
      this.#lock = lock;
      return;
    }
    throw new Error("every domain has somebody in it");
  }

  static #take(number: number): { close(): void } | undefined {
    const bind = (offset: number) =>
      listenDatagram({
        transport: "udp",
        hostname: "127.0.0.1",
        port: 7400 + 250 * number + offset,
      });
    let lock;
    try {
      lock = bind(5);
      // Somebody who is no test would be its first participant.
      bind(10).close();
      return lock;
    } catch (error) {
      lock?.close();
      if (error instanceof Deno.errors.AddrInUse) return undefined;
      throw error;
    }
  }

  /** Gives it back. */
  [Symbol.dispose](): void {
    this.#lock.close();
  }
}

function meet(domain: number, owned?: OwnDomain): Meeting {
  return {
    options: (module, overrides) => ({
      ...overrides,
      module,
      plugins: [ros2],
      config: { ros2: { domain, range: "localhost", json: true } },
    }),
    place: { domain },
    [Symbol.asyncDispose]: () => Promise.resolve(owned?.[Symbol.dispose]()),
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
  meeting: () => {
    const owned = new OwnDomain();
    return Promise.resolve(meet(owned.number, owned));
  },
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
