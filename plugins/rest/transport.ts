/**
 * The rest transport: who is where (directory, peers, base URL), the server of this bay, and the
 * ways of calls, shouts and jobs.
 *
 * @module
 */

import {
  type BayIdentity,
  type CallableEndpoint,
  type CallPort,
  type DirectoryEntry,
  type Finding,
  type Health,
  PatchbayError,
  type Pattern,
  type Registration,
  type Transport,
  type TransportContext,
  type TransportStatistics,
} from "@patchbay/core";
import type { Bodies } from "./bodies.ts";
import { CallWay, type WayHost } from "./calls.ts";
import type { RestConfig } from "./config.ts";
import { addUserHeaders } from "./headers.ts";
import { Host, type HostOptions } from "./host.ts";
import { nameOf } from "./names.ts";
import type { RestServer } from "./server.ts";

/** What only rest has. */
export interface RestExtras {
  /** Where this bay listens: `http://…`, `https://…`, `unix:…`; empty while it does not. */
  readonly url: string;
}

/** What the transport is made with. */
export interface TransportParts {
  /** What core gave the plugin. */
  readonly context: TransportContext;
  /** The configuration. */
  readonly config: RestConfig;
  /** How bodies are made. */
  readonly bodies: Bodies;
  /** How hosts are reached. */
  readonly hosts: HostOptions;
  /** The server, made when something is served; throws where nothing can listen. */
  readonly makeServer: () => RestServer;
}

/** A transport over HTTP. */
export class RestTransport implements Transport<RestExtras>, WayHost {
  readonly identity: BayIdentity;
  readonly bodies: Bodies;
  readonly names: Readonly<Record<string, unknown>>;
  readonly headers: Readonly<Record<string, string>>;
  readonly retries: number;
  readonly statistics: TransportStatistics;
  readonly extras: RestExtras;
  readonly #parts: TransportParts;
  readonly #context: TransportContext;
  readonly #config: RestConfig;
  readonly #hosts = new Map<string, Host>();
  readonly #ways = new Set<CallWay>();
  readonly #unwatch: (() => void) | undefined;
  #server: RestServer | undefined;
  #published: Promise<void> | undefined;
  #closing: Promise<void> | undefined;

  /** @param parts What it is made with. */
  constructor(parts: TransportParts) {
    const { context, config } = parts;
    this.#parts = parts;
    this.#context = context;
    this.#config = config;
    this.identity = context.identity;
    this.bodies = parts.bodies;
    this.names = config.names;
    this.retries = config.retries;
    this.statistics = context.statistics;
    const headers: Record<string, string> = {};
    addUserHeaders(config.headers, headers);
    if (config.token !== undefined) headers.authorization = `Bearer ${config.token}`;
    this.headers = headers;
    const server = () => this.#server;
    this.extras = {
      get url() {
        return server()?.url ?? "";
      },
    };
    this.#unwatch = context.directory?.watch(() => this.#directoryChanged());
  }

  /** As {@link Transport.health}. */
  health(): Health {
    return { status: "healthy" };
  }

  /** As {@link Transport.find}. */
  find(pattern: Pattern, address: string): Finding | Promise<Finding> {
    const known = this.#holders(pattern, address);
    if (known.length > 0) return found(known);
    return this.#look(pattern, address);
  }

  async #look(pattern: Pattern, address: string): Promise<Finding> {
    await this.#context.directory?.refresh();
    const known = this.#holders(pattern, address);
    if (known.length > 0) return found(known);
    // A foreign service can only be tried.
    const name = nameOf(address, undefined, this.names);
    if (name.baseUrl !== undefined || this.#config.baseUrl !== undefined) {
      return { found: "unknown" };
    }
    return {
      found: false,
      reason: "no bay known over rest serves it",
      remedy: "set config.rest.peers to bays of other hosts, or baseUrl to a service",
    };
  }

  /** As {@link Transport.serve}. */
  async serve(endpoint: CallableEndpoint): Promise<Registration> {
    const server = await this.#listen();
    const remove = server.serve(endpoint);
    return {
      close: () => {
        remove();
        return Promise.resolve();
      },
    };
  }

  /** As {@link Transport.caller}. */
  caller(address: string): CallPort {
    const way = new CallWay(address, this.#hostsOf("callable", address), this);
    this.#ways.add(way);
    return way;
  }

  /** As {@link Transport.close}. */
  close(): Promise<void> {
    return this.#closing ??= (async () => {
      this.#unwatch?.();
      for (const way of this.#ways) way.end();
      await this.#server?.close();
      for (const host of this.#hosts.values()) host.close();
    })();
  }

  /** Begins to listen, as configured. */
  async open(): Promise<void> {
    if (this.#config.listen !== undefined) await this.#listen();
  }

  // ----- for ways -----

  /** As {@link WayHost.hostAt}. */
  hostAt(base: string): Host {
    let host = this.#hosts.get(base);
    if (host === undefined) {
      host = new Host(base, this.#parts.hosts);
      this.#hosts.set(base, host);
    }
    return host;
  }

  /** As {@link WayHost.hostLost}. */
  hostLost(_host: Host): void {
    this.#context.routesChanged();
    // The directory notices a death within a second by itself; whoever lost a connection knows more.
    this.#context.directory?.refresh().then(() => this.#directoryChanged(), () => {});
  }

  // ----- who is where -----

  #holders(pattern: Pattern, address: string): DirectoryEntry[] {
    const wire = this.#context.name;
    const role = pattern === "speaker" ? "speaker" : "server";
    return (this.#context.directory?.others ?? []).filter((entry) =>
      entry.wires[wire] !== undefined &&
      entry.endpoints.some((e) =>
        e.role === role && e.pattern === pattern && e.address === address && e.wires.includes(wire)
      )
    );
  }

  #hostsOf(pattern: Pattern, address: string): Host[] {
    const wire = this.#context.name;
    const bases = this.#holders(pattern, address).map((entry) => entry.wires[wire]);
    const { baseUrl } = this.#config;
    if (bases.length === 0 && baseUrl !== undefined) bases.push(baseUrl);
    return bases.map((base) => this.hostAt(base));
  }

  #directoryChanged(): void {
    if (this.#closing === undefined) this.#context.routesChanged();
  }

  async #listen(): Promise<RestServer> {
    const server = this.#server ??= this.#parts.makeServer();
    const serving = await server.listen();
    const { directory, name } = this.#context;
    this.#published ??= directory?.listening(name, this.#config.publicUrl ?? serving.url) ??
      Promise.resolve();
    await this.#published;
    return server;
  }
}

function found(entries: readonly DirectoryEntry[]): Finding {
  const detail = entries.map((e) => `${e.instance} (pid ${e.pid}) at ${e.wires.rest}`);
  return { found: true, detail: detail.join(", ") };
}

/** The error for a bay that has nowhere to listen. */
export function nowhereToListen(): PatchbayError {
  return new PatchbayError("unavailable", "rest has nowhere to listen", {
    transport: "rest",
    retryable: false,
    remedy: "set config.rest.listen to { port }, or open the bay with a runtime directory",
  });
}
