/**
 * What a bridge hears on one wire: everything shouted at a pattern, handed over address by address,
 * so that one that is held up holds up no other.
 *
 * @module
 */

import type { DirectoryEndpoint } from "../directory.ts";
import type { EventContext, ListenCallback } from "../listener.ts";
import { ListenerEndpoint } from "../listener_endpoint.ts";
import type { ListenerSource } from "../listener_source.ts";
import type { Registration } from "../plugin.ts";
import type { EndpointStatistics } from "../statistics.ts";
import type { Lane } from "./lane.ts";

/** Takes what was heard; tells the source when it has left. */
export type Hear = (value: unknown, context: EventContext, source: ListenerSource) => void;

/** A listener of a bridge. */
export class Ear extends ListenerEndpoint {
  readonly #lane: Lane;
  readonly #hear: Hear;
  readonly #counts: EndpointStatistics;
  #callback: ListenCallback<never>;
  #source: ListenerSource | undefined;
  #registration: Registration | undefined;
  #entry: DirectoryEndpoint | undefined;

  /**
   * @param lane The direction.
   * @param pattern The address or pattern.
   * @param hear Called with each shout.
   */
  constructor(lane: Lane, pattern: string, hear: Hear) {
    const { host, from, settings } = lane;
    const wire = from.plugin.name;
    const counts = host.statistics.endpoint("speaker", "listener", pattern, wire);
    const { overflow, maxQueue } = settings;
    // Where the wire cannot hold a speaker back, it is heard as fast as it shouts.
    const blocks = overflow === "block" && from.plugin.traits.backpressure;
    super(
      pattern,
      undefined,
      undefined,
      {
        overflow: blocks ? "block" : "drop_oldest",
        // All addresses share what waits at the speaker: the bound of one would be too little.
        maxQueue: blocks ? maxQueue : Math.max(maxQueue, 1024),
        retained: true,
      },
      host,
      counts,
      false,
    );
    this.#lane = lane;
    this.#hear = hear;
    this.#counts = counts;
    this.#callback = (value, context) => this.#take(value, context);
  }

  /** Listens; resolves when those who speak now have acknowledged. */
  async open(): Promise<void> {
    const { host, from } = this.#lane;
    const { name } = from.plugin;
    const entry: DirectoryEndpoint = {
      pattern: "speaker",
      role: "listener",
      address: this.pattern,
      wires: [name],
    };
    this.#entry = entry;
    await host.directory?.add(entry);
    this.#registration = await from.transport.listen?.(this);
  }

  /** Listens no longer. Idempotent. */
  async close(): Promise<void> {
    this.end();
    const { host } = this.#lane;
    const [entry, registration] = [this.#entry, this.#registration];
    this.#entry = this.#registration = undefined;
    if (entry !== undefined) await host.directory?.remove(entry);
    await registration?.close();
    host.statistics.remove(this.#counts);
  }

  /** As {@link ListenerEndpoint.instrument}. */
  override instrument(
    wrap: (callback: ListenCallback<never>) => ListenCallback<never>,
  ): void {
    this.#callback = wrap(this.#callback);
  }

  /** As {@link ListenerEndpoint.deliver}. */
  override deliver(value: unknown, context: EventContext, source: ListenerSource): void {
    this.#counts.messagesIn++;
    if (this.ended) return source.released();
    this.#source = source;
    void this.#callback(value as never, context);
    this.#source = undefined;
  }

  #take(value: unknown, context: EventContext): void {
    if (this.#source !== undefined) this.#hear(value, context, this.#source);
  }
}
