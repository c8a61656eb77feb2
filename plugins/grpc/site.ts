/**
 * The listening side of one bay, whole: the server with calls, speakers, jobs, presence, health and
 * reflection.
 *
 * @module
 */

import type {
  Bridged,
  CallableEndpoint,
  ErrorCode,
  JobEndpoint,
  SpeakerEndpoint,
  SpeakerPort,
  TransportContext,
} from "@patchbay/core";
import type { Bodies } from "./bodies.ts";
import { CallGate } from "./call_gate.ts";
import { Calls } from "./calls_in.ts";
import type { GrpcConfig } from "./config.ts";
import { HEALTH, HealthService } from "./health.ts";
import { type Desk, Verdicts } from "./inbound.ts";
import { Jobs } from "./jobs_in.ts";
import { PATTERNS, type Presence as Present, SERVICE } from "./messages.ts";
import { PATCHBAY_PROTO } from "./patchbay_proto.ts";
import { Presence } from "./presence.ts";
import { parseProto, type ProtoFile } from "./proto_file.ts";
import { Publisher } from "./publisher.ts";
import { Reflection } from "./reflection.ts";
import { GrpcServer, type Place } from "./server.ts";
import { serveMethods, type ServiceDesk } from "./service_in.ts";

/** How much a message may have besides its value, in bytes. */
export const ROUND_VALUE_BYTES = 64 * 1024;

/** How many listeners and jobs one connection may have, besides its calls. */
const MAX_STANDING = 4096;

/** What is told of an endpoint to those who watch. */
interface Told {
  readonly address: string;
  readonly shared?: boolean;
  readonly retain?: boolean;
  readonly bridged?: Bridged;
}

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
  readonly #health: HealthService;
  readonly #reflection: Reflection | undefined;
  readonly #desk: ServiceDesk;

  /** @param parts What it is made with. */
  constructor({ context, config, bodies, place }: SiteParts) {
    this.#context = context;
    const server = this.#server = new GrpcServer({
      ...config,
      tls: config.tls,
      tokens: config.tokens,
      place,
      maxReceiveBytes: bodies.maxBytes + ROUND_VALUE_BYTES,
      // Calls beyond those that may wait are refused by the gate, which says why.
      maxStreams: config.maxCalls + config.maxWaitingCalls + MAX_STANDING,
      onConnections: (change) => void (context.statistics.connections += change),
      onRefused: ({ code }) => context.statistics.countError(code),
      onError: (error) => context.report(error),
    });
    const gate = new CallGate(config.maxCalls, config.maxWaitingCalls);
    const desk: Desk = { context, bodies, server, gate };
    const verdicts = new Verdicts(desk);
    this.#calls = new Calls(desk, verdicts);
    this.#publisher = new Publisher(desk, verdicts);
    this.#jobs = new Jobs(desk, verdicts);
    this.#presence = new Presence(desk, () => this.#tell());
    this.#health = new HealthService(server);
    this.#health.set(SERVICE, "SERVING");
    if (config.reflection) {
      this.#reflection = new Reflection(server);
      this.#reflection.add(parseProto(PATCHBAY_PROTO), SERVICE);
      this.#reflection.add(this.#health.file, HEALTH);
    }
    const { statistics } = context;
    const countError = (code: string) => statistics.countError(code as ErrorCode);
    this.#desk = { server, gate, verdicts, countError };
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

  /**
   * Serves a service of a `.proto`.
   *
   * @param proto The file.
   * @param name The service in it.
   * @param handlers What answers its methods.
   * @returns Takes it off again.
   */
  serveService(proto: ProtoFile, name: string | undefined, handlers: object): () => void {
    const service = proto.service(name);
    const remove = serveMethods(service, handlers, this.#desk);
    const unlist = this.#reflection?.add(proto, service.name);
    this.#health.set(service.name, "SERVING");
    let served = true;
    return () => {
      if (!served) return;
      served = false;
      remove();
      unlist?.();
      this.#health.set(service.name, undefined);
    };
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
    this.#health.close();
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
    const told = (pattern: typeof PATTERNS[number], endpoints: readonly Told[]) =>
      endpoints.map(({ address, shared = false, retain = false, bridged }) => (
        { pattern: PATTERNS.indexOf(pattern), address, shared, retain, bridged }
      ));
    return {
      module,
      instance,
      id,
      endpoints: [
        ...told("callable", this.#calls.served),
        ...told("speaker", this.#publisher.spoken),
        ...told("job", this.#jobs.performed),
      ],
    };
  }
}
