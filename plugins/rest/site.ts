/**
 * The listening side of one bay, whole: server, event streams, jobs and documents.
 *
 * @module
 */

import type {
  CallableEndpoint,
  JobEndpoint,
  SpeakerEndpoint,
  SpeakerPort,
  TransportContext,
} from "@patchbay/core";
import type { Bodies } from "./bodies.ts";
import type { RestConfig } from "./config.ts";
import { Streams } from "./event_stream.ts";
import { Jobs } from "./jobs_in.ts";
import { Publisher, readPattern } from "./publisher.ts";
import { FROM } from "./headers.ts";
import { nowhere, RestServer, type ServerParts } from "./server.ts";

/** How long open event streams may still take when the site closes, in milliseconds. */
const STREAMS_GRACE_MS = 500;

/** The listening side of one bay. */
export class Site {
  readonly #server: RestServer;
  readonly #streams: Streams;
  readonly #publisher: Publisher;
  readonly #jobs: Jobs;

  /** @param parts What it is made with. */
  constructor(parts: ServerParts) {
    const { context, config } = parts;
    const server = this.#server = new RestServer(parts);
    const streams = this.#streams = new Streams(config.eventPingMs);
    this.#publisher = new Publisher({ context, config, server, streams });
    this.#jobs = new Jobs({ context, config, server, streams });
    server.otherwise = (request) => {
      const { method, path } = request.req;
      const pattern = method === "GET" || method === "HEAD" ? readPattern(path) : undefined;
      // A bay may listen before there is a speaker; another program may to patterns.
      const ahead = pattern !== undefined &&
        (pattern.includes("*") || request.req.raw.headers.has(FROM));
      return ahead ? this.#publisher.subscribe(request, pattern) : nowhere(server, request);
    };
  }

  /** Where it listens; empty while it does not. */
  get url(): string {
    return this.#server.url ?? "";
  }

  /** Begins to listen, once; resolves with where. */
  async listen(): Promise<string> {
    return (await this.#server.listen()).url;
  }

  /** Puts a callable on its routes; what it gives takes it off. */
  serve(endpoint: CallableEndpoint): () => void {
    return this.#server.serve(endpoint);
  }

  /** Puts a speaker on its route. */
  speak(endpoint: SpeakerEndpoint): SpeakerPort {
    return this.#publisher.speak(endpoint);
  }

  /** Puts a job on its routes; what it gives takes it off. */
  perform(endpoint: JobEndpoint): () => void {
    return this.#jobs.perform(endpoint);
  }

  /** Ends all streams, and listens no longer. Idempotent. */
  async close(): Promise<void> {
    await this.#streams.close(STREAMS_GRACE_MS);
    this.#publisher.close();
    await this.#server.close();
  }
}

/** Makes the listening side of a bay. */
export type MakeSite = (
  context: TransportContext,
  config: RestConfig,
  bodies: Bodies,
) => Site | undefined;
