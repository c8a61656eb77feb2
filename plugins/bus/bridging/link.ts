/**
 * One bridge: the connection from this manager to another one, which it has dialled.
 *
 * @module
 */

import {
  type Bay,
  type EventContext,
  matches,
  PatchbayError,
  type ShoutOptions,
} from "@patchbay/core";
import { CHANGED, EXCHANGE, type Exchange, readExchange } from "./exchange.ts";
import { FrameEars, FrameVoices } from "./ways.ts";

/** How often two managers exchange tables, in milliseconds; besides when something has changed. */
const EXCHANGE_MS = 500;
/** How long an exchange may take, in milliseconds. */
const TIMEOUT_MS = 2000;

/** How a bridge is doing. */
export interface BridgeStatus {
  /** The manager that is dialled. */
  readonly url: string;
  /**
   * `standby`: another bridge between the same two is up; `refused`: see the reason; `down`: it is
   * dialled again and again.
   */
  readonly state: "connecting" | "up" | "standby" | "refused" | "down";
  /** What the other manager is called, once it has said so. */
  readonly name?: string;
  /** Why it is refused or down. */
  readonly reason?: string;
  /** Frames that went there. */
  readonly sent: number;
  /** Frames that came from there. */
  readonly received: number;
  /** Frames that were not carried, by reason: `ttl`, `duplicate`, `loop`, `overflow_oldest`, … */
  readonly drops: Readonly<Record<string, number>>;
}

/** What a bridge asks of its manager. */
export interface LinkHost {
  /** What is told over a bridge now. */
  exchange(key: string, client: string): Exchange;
  /**
   * The neighbour has told its table.
   *
   * @throws `invalid`: it cannot be joined.
   */
  told(link: BridgeLink, exchange: Exchange): void;
  /** The bridge is down, or not used. */
  gone(link: BridgeLink): void;
  /** Its state is another one. */
  changed(link: BridgeLink): void;
  /** A frame has come over it. */
  take(link: BridgeLink, body: Uint8Array, context: EventContext): void;
  /** Told what nobody awaits. */
  report(error: PatchbayError): void;
}

/** One bridge. */
export class BridgeLink {
  /** Its name in the tables. */
  readonly key: string;
  readonly #url: string;
  readonly #bay: Bay;
  readonly #host: LinkHost;
  readonly #ears: FrameEars;
  readonly #voices: FrameVoices;
  readonly #drops = new Map<string, number>();
  readonly #running: Promise<void>;
  #state: BridgeStatus["state"] = "connecting";
  #reason: string | undefined;
  #name: string | undefined;
  #manager: string | undefined;
  #sent = 0;
  #received = 0;
  #wanted: readonly string[] = [];
  #wake: (() => void) | undefined;
  #again = false;
  #closing = false;

  /**
   * @param url The manager that is dialled.
   * @param bay The bay that dials it.
   * @param host This side's manager.
   */
  constructor(url: string, bay: Bay, host: LinkHost) {
    this.key = `out:${url}`;
    this.#url = url;
    this.#bay = bay;
    this.#host = host;
    const ways = {
      drop: (reason: string) => this.drop(reason),
      report: (error: PatchbayError) => host.report(error),
    };
    this.#ears = new FrameEars(bay, ways, (body, context) => {
      if (this.#state !== "up") return this.drop("closed");
      this.#received++;
      host.take(this, body, context);
    });
    this.#voices = new FrameVoices(bay, ways);
    this.#running = this.#run();
  }

  /** Whether frames are carried. */
  get up(): boolean {
    return this.#state === "up";
  }

  /** The id of the manager there, once it has said so. */
  get manager(): string | undefined {
    return this.#manager;
  }

  /** How it is doing. */
  get status(): BridgeStatus {
    const drops = new Map(this.#drops);
    for (const endpoint of this.#bay.statistics.snapshot(Date.now()).endpoints) {
      if (!endpoint.address.startsWith("frame/")) continue;
      for (const [reason, n] of Object.entries(endpoint.drops)) {
        drops.set(reason, (drops.get(reason) ?? 0) + n);
      }
    }
    return {
      url: this.#url,
      state: this.#state,
      ...(this.#name === undefined ? {} : { name: this.#name }),
      ...(this.#reason === undefined ? {} : { reason: this.#reason }),
      sent: this.#sent,
      received: this.#received,
      drops: Object.fromEntries(drops),
    };
  }

  /**
   * What is carried from now on.
   *
   * @param there Patterns of what goes there.
   * @param here Patterns of what comes from there.
   */
  carry(there: readonly string[], here: ReadonlySet<string>): void {
    this.#wanted = there;
    this.#ears.set(here);
  }

  /** Whether frames of an address are wanted there. */
  wants(address: string): boolean {
    for (const pattern of this.#wanted) {
      if (pattern === address || matches(pattern, address)) return true;
    }
    return false;
  }

  /** Sends a frame there. */
  send(address: string, body: Uint8Array, options: ShoutOptions): void {
    this.#sent++;
    this.#voices.shout(address, body, options);
  }

  /** A frame is not carried. */
  drop(reason: string): void {
    this.#drops.set(reason, (this.#drops.get(reason) ?? 0) + 1);
  }

  /** There is news: the tables are exchanged at once. */
  nudge(): void {
    this.#again = true;
    this.#wake?.();
  }

  /** Ends it. */
  async close(): Promise<void> {
    this.#closing = true;
    this.#wake?.();
    await this.#bay.close();
    await this.#running;
  }

  async #run(): Promise<void> {
    const news = this.#bay.listen(CHANGED, () => this.nudge(), { via: ["bus"] });
    news.catch((error) => this.#host.report(PatchbayError.fromThrown(error)));
    while (!this.#closing) {
      this.#again = false;
      try {
        await this.#exchange();
      } catch (error) {
        this.#failed(PatchbayError.fromThrown(error));
      }
      if (!this.#again && !this.#closing) await this.#pause();
    }
  }

  async #exchange(): Promise<void> {
    const mine = this.#host.exchange(this.key, this.#bay.identity.id);
    const answer = await this.#bay.call<unknown, unknown>(EXCHANGE, mine, {
      timeoutMs: TIMEOUT_MS,
      via: ["bus"],
    });
    if (this.#closing) return;
    const theirs = readExchange(answer);
    this.#name = theirs.name;
    this.#manager = theirs.id;
    if (theirs.standby === true) {
      this.#host.gone(this);
      return this.#is("standby");
    }
    this.#host.told(this, theirs);
    this.#is("up");
  }

  #failed(error: PatchbayError): void {
    if (this.#closing) return;
    const refused = error.code === "invalid" || error.code === "unauthenticated" ||
      error.code === "forbidden";
    this.#host.gone(this);
    this.#is(refused ? "refused" : "down", error.message);
  }

  #is(state: BridgeStatus["state"], reason?: string): void {
    const same = state === this.#state && (state !== "refused" || reason === this.#reason);
    this.#state = state;
    this.#reason = reason;
    if (!same) this.#host.changed(this);
  }

  async #pause(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, EXCHANGE_MS);
    this.#wake = resolve;
    await promise;
    clearTimeout(timer);
    this.#wake = undefined;
  }
}
