/**
 * A place for participants to meet in tests: a domain of their own, loopback only, sockets that can
 * lose datagrams, be recorded, or be cut.
 *
 * @module
 */

import { OwnDomain } from "../../fixture.ts";
import { type OpenSocket, openUdp, Participant, type ParticipantOptions } from "../mod.ts";

/** How sockets behave. */
export interface Faults {
  /** The share of datagrams that are lost on their way out. */
  loss?: number;
  /** The share that is lost on its way in. */
  lossIn?: number;
  /** While true nothing comes or goes. */
  cut?: boolean;
  /** Told of each datagram that is sent. */
  record?: (bytes: Uint8Array) => void;
}

/** A sequence of numbers from 0 to 1 that is the same each time. */
export function random(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** UDP with faults. */
export function faultySockets(faults: Faults, seed = 1): OpenSocket {
  const next = random(seed);
  const isLost = (share = 0) => faults.cut === true || next() < share;
  return async (options) => {
    const socket = await openUdp(options);
    return {
      local: socket.local,
      async receive(buffer) {
        for (;;) {
          const datagram = await socket.receive(buffer);
          if (datagram === undefined || !isLost(faults.lossIn)) return datagram;
        }
      },
      send(bytes, to) {
        faults.record?.(bytes.slice());
        return isLost(faults.loss) ? Promise.resolve(0) : socket.send(bytes, to);
      },
      close: () => socket.close(),
    };
  };
}

/** Waits for conditions; what happens is told by `touch`. */
export class Waiter {
  #waiting: (() => void)[] = [];

  /** Something has happened. */
  readonly touch = (): void => {
    for (const wake of this.#waiting.splice(0)) wake();
  };

  /** Resolves when the condition holds; the watchdog names it. */
  async until(condition: () => boolean, what: string, watchdogMs = 30_000): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`in vain: ${what}`)), watchdogMs);
    });
    try {
      while (!condition()) {
        await Promise.race([late, new Promise<void>((resolve) => this.#waiting.push(resolve))]);
      }
    } finally {
      clearTimeout(timer);
    }
  }
}

/** Participants of one domain that nobody else uses. */
export class Place extends Waiter implements AsyncDisposable {
  readonly #open: Participant[] = [];
  readonly #domain = new OwnDomain();
  /** The domain: any but the default. */
  readonly domain: number = this.#domain.number;

  /** Opens a participant on loopback. */
  async participant(options: ParticipantOptions = {}, faults?: Faults): Promise<Participant> {
    const participant = await Participant.open({
      domain: this.domain,
      interfaces: ["127.0.0.1"],
      onReport: (error) => {
        throw error;
      },
      ...faults === undefined ? {} : { openSocket: faultySockets(faults) },
      ...options,
      onParticipant: (data) => {
        options.onParticipant?.(data);
        this.touch();
      },
      onParticipantLost: (data, why) => {
        options.onParticipantLost?.(data, why);
        this.touch();
      },
      onEndpoint: (endpoint, data) => {
        options.onEndpoint?.(endpoint, data);
        this.touch();
      },
      onEndpointGone: (endpoint, data) => {
        options.onEndpointGone?.(endpoint, data);
        this.touch();
      },
    });
    this.#open.push(participant);
    return participant;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const participant of this.#open) await participant.close();
    this.#domain[Symbol.dispose]();
  }
}

/** A payload of so many bytes behind its header, that says which it is. */
export function payload(size: number, n: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(4 + size);
  bytes[1] = 1;
  for (let i = 4; i < bytes.length; i++) bytes[i] = (n * 31 + i * 7 + (i >>> 8)) & 255;
  return bytes;
}
