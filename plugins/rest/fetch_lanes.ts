/**
 * Several connections to one host, where one carries only so many requests at once: HTTP/2 streams
 * are counted, and what is beyond would wait behind event streams that stay open for days.
 *
 * @module
 */

import type { Incoming, Outgoing, Streaming, Way } from "./host.ts";

/** What one connection carries at once. RFC 9113 §6.5.2 asks servers to allow no fewer. */
export const STREAMS_A_LANE = 100;

/** A connection's worth of requests. */
interface Lane {
  readonly way: Way;
  open: number;
}

/** A way of several. */
class Lanes implements Way {
  readonly #make: () => Way;
  readonly #lanes: Lane[] = [];

  constructor(make: () => Way) {
    this.#make = make;
  }

  async exchange(request: Outgoing, maxBytes: number): Promise<Incoming> {
    const lane = this.#enter();
    try {
      return await lane.way.exchange(request, maxBytes);
    } finally {
      lane.open--;
    }
  }

  async stream(request: Outgoing): Promise<Streaming> {
    const lane = this.#enter();
    const { signal } = request;
    let gone = false;
    const leave = () => {
      if (gone) return;
      gone = true;
      signal.removeEventListener("abort", leave);
      lane.open--;
    };
    // Whoever does not read the body has to abort.
    signal.addEventListener("abort", leave, { once: true });
    try {
      const streaming = await lane.way.stream(request);
      return { ...streaming, body: during(streaming.body, leave) };
    } catch (error) {
      leave();
      throw error;
    }
  }

  close(): void {
    for (const { way } of this.#lanes) way.close();
  }

  /** The first with room: so the others become idle, and their connections are closed. */
  #enter(): Lane {
    let lane = this.#lanes.find(({ open }) => open < STREAMS_A_LANE);
    if (lane === undefined) this.#lanes.push(lane = { way: this.#make(), open: 0 });
    lane.open++;
    return lane;
  }
}

async function* during(
  body: AsyncIterable<Uint8Array>,
  ended: () => void,
): AsyncGenerator<Uint8Array, void, void> {
  try {
    yield* body;
  } finally {
    ended();
  }
}

/**
 * Makes a way of as many ways as the requests at once need.
 *
 * @param make Makes one, with connections of its own.
 */
export function lanes(make: () => Way): Way {
  return new Lanes(make);
}
