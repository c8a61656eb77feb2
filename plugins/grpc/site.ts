/**
 * The listening side of one bay, whole: the server with calls, speakers, jobs, presence, health and
 * reflection.
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
import { CallGate } from "./call_gate.ts";
import { Calls } from "./calls_in.ts";
import type { GrpcConfig } from "./config.ts";
import { type Desk, Verdicts } from "./inbound.ts";
import { Jobs } from "./jobs_in.ts";
import { PATTERNS, type Presence as Present } from "./messages.ts";
import { Presence } from "./presence.ts";
import { Publisher } from "./publisher.ts";
import { GrpcServer, type Place } from "./server.ts";

/** How much a message may have besides its value, in bytes. */
export const ROUND_VALUE_BYTES = 64 * 1024;

/** What a site is made with. */
export interface SiteParts {
  /** What core gave the plugin. */
  readonly context: TransportContext;
  /** The configuration. */
  readonly config: GrpcConfig;
  /** How values are made. */
  readonly bodies: Bodies;
  /** Where it listens. */
  readonly place: Place;
}

/** The listening side of one bay. */
export class Site {
  readonly #context: TransportContext;
  readonly #server: GrpcServer;
  readonly #calls: Calls;
  readonly #publisher: Publisher;
  readonly #jobs: Jobs;
  readonly #presence: Presence;

  /** @param parts What it is made with. */
  constructor({ context, config, bodies, place }: SiteParts) {
    this.#context = context;
    const server = this.#server = new GrpcServer({
      ...config,
      tls: config.tls,
      tokens: config.tokens,
      place,
      maxReceiveBytes: bodies.maxBytes + ROUND_VALUE_BYTES,
      onConnections: (change) => void (context.statistics.connections += change),
      onError: (error) => context.report(error),
    });
    const gate = new CallGate(config.maxCalls, config.maxWaitingCalls);
    const desk: Desk = { context, bodies, server, gate };
    const verdicts = new Verdicts(desk);
    this.#calls = new Calls(desk, verdicts);
    this.#publisher = new Publisher(desk, verdicts);
    this.#jobs = new Jobs(desk, verdicts);
    this.#presence = new Presence(desk, () => this.#tell());
  }

  /** Where it listens; empty while it does not. */
  get url(): string {
    return this.#server.url;
  }

  /** Begins to listen, once; resolves with where. */
  listen(): Promise<string> {
    return this.#server.listen();
  }

  /** Serves a callable; what it gives takes it off. */
  serve(endpoint: CallableEndpoint): () => void {
    return this.#noting(this.#calls.serve(endpoint));
  }

  /** Performs a job; what it gives takes it off. */
  perform(endpoint: JobEndpoint): () => void {
    return this.#noting(this.#jobs.perform(endpoint));
  }

  /** Opens a speaker. */
  speak(endpoint: SpeakerEndpoint): SpeakerPort {
    const port = this.#publisher.speak(endpoint);
    const close = port.close.bind(port);
    port.close = async () => {
      await close();
      this.#presence.changed();
    };
    this.#presence.changed();
    return port;
  }

  /** Ends all streams, and listens no longer. Idempotent. */
  async close(): Promise<void> {
    this.#presence.close();
    this.#publisher.close();
    this.#jobs.close();
    this.#calls.close();
    await this.#server.close();
  }

  /** Whatever comes and goes is told to who watches. */
  #noting(remove: () => void): () => void {
    this.#presence.changed();
    return () => {
      remove();
      this.#presence.changed();
    };
  }

  #tell(): Present {
    const { module, instance, id } = this.#context.identity;
    const named = (pattern: typeof PATTERNS[number], addresses: readonly string[]) =>
      addresses.map((address) => ({ pattern: PATTERNS.indexOf(pattern), address }));
    return {
      module,
      instance,
      id,
      endpoints: [
        ...named("callable", this.#calls.addresses),
        ...named("speaker", this.#publisher.addresses),
        ...named("job", this.#jobs.addresses),
      ],
    };
  }
}
