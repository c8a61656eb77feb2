/**
 * The listening side of one bay, whole: server, event streams, jobs and documents.
 *
 * @module
 */

import type {
  CallableEndpoint,
  JobEndpoint,
  Pattern,
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
import { type Described, openapi, untyped } from "./openapi.ts";
import { page, PAGE_POLICY } from "./page.ts";
import { Presence, type Present } from "./presence.ts";
import type { RestContext } from "./router.ts";
import { nowhere, RestServer, type ServerParts } from "./server.ts";

/** How long open event streams may still take when the site closes, in milliseconds. */
const STREAMS_GRACE_MS = 500;

/** The listening side of one bay. */
export class Site {
  readonly #parts: ServerParts;
  readonly #server: RestServer;
  readonly #streams: Streams;
  readonly #publisher: Publisher;
  readonly #jobs: Jobs;
  readonly #presence: Presence;

  /** @param parts What it is made with. */
  constructor(parts: ServerParts) {
    this.#parts = parts;
    const { context, config } = parts;
    const server = this.#server = new RestServer(parts);
    const streams = this.#streams = new Streams(config.eventPingMs);
    this.#publisher = new Publisher({ context, config, server, streams });
    this.#jobs = new Jobs({ context, config, server, streams });
    if (config.openapi) this.#documents();
    this.#presence = new Presence(server, streams, () => this.#tell());
    server.otherwise = (request) => {
      const { method, path } = request.req;
      const pattern = method === "GET" || method === "HEAD" ? readPattern(path) : undefined;
      // A bay may listen before there is a speaker; another program may to patterns.
      const ahead = pattern !== undefined &&
        (pattern.includes("*") || request.req.raw.headers.has(FROM));
      return ahead ? this.#publisher.subscribe(request, pattern) : nowhere(server, request);
    };
  }

  /** The endpoints of which nobody knows a schema. */
  get untyped(): string[] {
    return untyped(this.#describe(""));
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
    return this.#noting(this.#server.serve(endpoint));
  }

  /** Puts a speaker on its route. */
  speak(endpoint: SpeakerEndpoint): SpeakerPort {
    const port = this.#publisher.speak(endpoint);
    const { shout, ready } = port;
    this.#presence.changed();
    return {
      shout: shout.bind(port),
      ready: ready?.bind(port),
      get listeners() {
        return port.listeners;
      },
      close: async () => {
        await port.close();
        this.#presence.changed();
      },
    };
  }

  /** Puts a job on its routes; what it gives takes it off. */
  perform(endpoint: JobEndpoint): () => void {
    return this.#noting(this.#jobs.perform(endpoint));
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
    const { module, instance, id } = this.#parts.context.identity;
    const named = (pattern: Pattern, role: "server" | "speaker", addresses: string[]) =>
      [...new Set(addresses)].map((address) => ({ pattern, role, address }));
    const { callables } = this.#server;
    return {
      module,
      instance,
      id,
      endpoints: [
        ...named("callable", "server", callables.map(({ endpoint }) => endpoint.address)),
        ...named("speaker", "speaker", this.#publisher.speakers.map(({ address }) => address)),
        ...named("job", "server", this.#jobs.endpoints.map(({ address }) => address)),
      ],
    };
  }

  #documents(): void {
    const { router } = this.#server;
    const document = (request: RestContext) => openapi(this.#describe(originOf(request)));
    router.add({
      method: "GET",
      path: "/openapi.json",
      what: "the OpenAPI document",
      answer: (request) => Response.json(document(request)),
    });
    router.add({
      method: "GET",
      path: "/docs",
      what: "the documentation",
      answer: (request) =>
        new Response(page(document(request), originOf(request)), {
          headers: {
            "content-type": "text/html; charset=utf-8",
            "content-security-policy": PAGE_POLICY,
          },
        }),
    });
  }

  #describe(origin: string): Described {
    const { context, config } = this.#parts;
    return {
      module: context.identity.module,
      origin: config.publicUrl ?? origin,
      callables: this.#server.callables,
      speakers: this.#publisher.speakers,
      jobs: this.#jobs.endpoints,
      names: config.names,
      auth: config.auth,
    };
  }

  /** Ends all streams, and listens no longer. Idempotent. */
  async close(): Promise<void> {
    await this.#streams.close(STREAMS_GRACE_MS);
    this.#publisher.close();
    await this.#server.close();
  }
}

/** The URL that a client has asked under; empty where it is no web address. */
function originOf({ req }: RestContext): string {
  const { origin } = new URL(req.url);
  return origin.startsWith("http:") || origin.startsWith("https:") ? origin : "";
}

/** Makes the listening side of a bay. */
export type MakeSite = (
  context: TransportContext,
  config: RestConfig,
  bodies: Bodies,
) => Site | undefined;
