/**
 * What a bay tells bays of other hosts about itself: who it is and what is there, once or as it
 * changes.
 *
 * @module
 */

import { json, PatchbayError, type Pattern } from "@patchbay/core";
import { encodeEvent, EVENT_STREAM } from "./events.ts";
import type { EventStream, Streams } from "./event_stream.ts";
import type { RestContext } from "./router.ts";
import type { RestServer } from "./server.ts";

/** Where a bay tells it: a place that no address can have (RFC 8615). */
export const PRESENCE_PATH = "/.well-known/patchbay";

/** One thing that is there. */
export interface PresentEndpoint {
  /** The pattern. */
  readonly pattern: Pattern;
  /** `server`: callables and jobs. */
  readonly role: "server" | "speaker";
  /** Where. */
  readonly address: string;
}

/** What a bay tells. */
export interface Present {
  /** Its module's name. */
  readonly module: string;
  /** Its instance's name. */
  readonly instance: string;
  /** Its id. */
  readonly id: string;
  /** What is there. */
  readonly endpoints: readonly PresentEndpoint[];
}

/**
 * Reads what a bay tells. What is not understood is left out.
 *
 * @param value The decoded value.
 * @throws {PatchbayError} `protocol`: it is no bay that tells this.
 */
export function readPresent(value: unknown): Present {
  const { module, instance, id, endpoints } = (value ?? {}) as Partial<Present>;
  const texts = [module, instance, id].every((one) => typeof one === "string");
  if (!texts || !Array.isArray(endpoints)) {
    throw new PatchbayError("protocol", `what is told at ${PRESENCE_PATH} is no bay's`, {
      remedy: "config.rest.peers takes bays of Patchbay; use baseUrl for other services",
    });
  }
  const known = (endpoints as readonly Partial<PresentEndpoint>[]).filter((one) =>
    typeof one?.address === "string" && typeof one.pattern === "string"
  );
  return { module, instance, id, endpoints: known } as Present;
}

/** Tells whoever asks. */
export class Presence {
  readonly #streams: Streams;
  readonly #tell: () => Present;
  readonly #watchers = new Set<EventStream>();
  #telling = false;

  /**
   * @param server Where it is told.
   * @param streams The open streams.
   * @param tell What is there now.
   */
  constructor(server: RestServer, streams: Streams, tell: () => Present) {
    this.#streams = streams;
    this.#tell = tell;
    const what = "the presence of this bay";
    server.router.add({
      method: "GET",
      path: PRESENCE_PATH,
      what,
      answer: (context) => this.#answer(context),
    });
  }

  /** Something has come or gone. What changes in one turn is told at once. */
  changed(): void {
    if (this.#telling || this.#watchers.size === 0) return;
    this.#telling = true;
    queueMicrotask(() => {
      this.#telling = false;
      const event = this.#event();
      for (const watcher of this.#watchers) watcher.push(event, FORGETFUL);
    });
  }

  #answer(context: RestContext): Response {
    const { headers, method } = context.req.raw;
    if (method === "HEAD" || !(headers.get("accept") ?? "").includes(EVENT_STREAM)) {
      return Response.json(this.#tell());
    }
    // Only the last word counts.
    const bounds = { maxQueue: 1, maxBytes: Infinity, overflow: "drop_oldest" } as const;
    const stream = this.#streams.open({ ...bounds, cut: context.env.cut }, 200, {}, () => {
      this.#watchers.delete(stream);
    });
    this.#watchers.add(stream);
    stream.push(this.#event(), FORGETFUL);
    return stream.response;
  }

  #event(): Uint8Array {
    const bytes = json.encode(this.#tell()) as Uint8Array<ArrayBuffer>;
    return encodeEvent(undefined, undefined, { bytes, type: json.contentType }, {});
  }
}

/** What a later word makes old is no loss. */
const FORGETFUL = { countDrop() {} };
