/**
 * Who is where: the bays of this host by its directory, those of other hosts by what they tell.
 *
 * @module
 */

import { type ListenerEndpoint, type Pattern, type TransportContext } from "@patchbay/core";
import type { RestConfig } from "./config.ts";
import type { StreamHost } from "./listening.ts";

/** A bay that can be reached. */
export interface Bay {
  /** Its URL. */
  readonly url: string;
  /** Its module's name. */
  readonly module: string;
  /** Its instance's name. */
  readonly instance: string;
}

/** Knows who is where. */
export class Whereabouts {
  readonly #context: TransportContext;
  readonly #unwatch: (() => void) | undefined;
  /** URLs of bays that the directory has named once. */
  readonly #seen = new Set<string>();

  /**
   * @param context What core gave the plugin.
   * @param config The configuration.
   * @param transport How peers are asked.
   * @param moved Called when somebody has come or gone.
   */
  constructor(
    context: TransportContext,
    _config: RestConfig,
    _transport: StreamHost,
    moved: () => void,
  ) {
    this.#context = context;
    this.#unwatch = context.directory?.watch(moved);
  }

  /** Begins to look for the peers. */
  open(): void {}

  /** The bays that serve, perform or speak at an address. */
  holders(pattern: Pattern, address: string): Bay[] {
    return this.#bays((e) =>
      e.role === (pattern === "speaker" ? "speaker" : "server") && e.pattern === pattern &&
      e.address === address
    );
  }

  /** The bays that have a speaker for a listener. */
  speakersFor(endpoint: ListenerEndpoint): Bay[] {
    return this.#bays((e) => e.role === "speaker" && endpoint.accepts(e.address));
  }

  /** Looks anew. */
  async refresh(): Promise<void> {
    await this.#context.directory?.refresh();
  }

  /** A bay did not answer: whoever lost a connection knows more than the directory. */
  lost(_url: string): void {
    this.#context.directory?.refresh().catch(() => {});
  }

  /** Whether a bay was there and is no more. */
  hasGone(url: string): boolean {
    if (!this.#seen.has(url)) return false;
    const { directory, name } = this.#context;
    return !(directory?.others ?? []).some((entry) => entry.wires[name] === url);
  }

  /** Looks no more. */
  close(): void {
    this.#unwatch?.();
  }

  #bays(
    wanted: (endpoint: {
      readonly role: string;
      readonly pattern: Pattern;
      readonly address: string;
    }) => boolean,
  ): Bay[] {
    const { directory, name } = this.#context;
    const bays: Bay[] = [];
    for (const { wires, endpoints, module, instance } of directory?.others ?? []) {
      const url = wires[name];
      if (url === undefined) continue;
      this.#seen.add(url);
      if (endpoints.some((e) => e.wires.includes(name) && wanted(e))) {
        bays.push({ url, module, instance });
      }
    }
    return bays;
  }
}
