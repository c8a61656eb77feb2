/**
 * The parent's side: spawns and adopts workers, accepts their links, and reports what they throw.
 *
 * @module
 */

import { type Link, type LinkListener, PatchbayError } from "@patchbay/core";
import { type Abilities, type Greeting, heard, type Port, say } from "./greeting.ts";
import { holdLife } from "./life.ts";
import {
  abilitiesOf,
  type LinkWishes,
  makeLink,
  makeRings,
  nextMessage,
  type Rings,
} from "./make_link.ts";
import type { PortLink } from "./port_link.ts";

/** A worker that the bay knows. */
export interface AttachedWorker extends AsyncDisposable {
  /** The worker, or the port that leads to it. */
  readonly worker: Worker | MessagePort;
  /** Ends it now: what is pending rejects with `closed`. A port is only let go. Idempotent. */
  terminate(): void;
  /** Lets go of it, and leaves it running: connections are closed in an orderly way. Idempotent. */
  release(): Promise<void>;
}

/** What a parent is made with. */
export interface ParentOptions {
  /** What it wants of links. */
  readonly wishes: LinkWishes;
  /** Called with what a worker threw and nobody caught. */
  readonly report: (error: PatchbayError) => void;
}

/** One worker. */
class Attached implements AttachedWorker {
  readonly worker: Worker | MessagePort;
  readonly name: string;
  readonly owned: boolean;
  readonly links = new Set<PortLink>();
  readonly stop = new AbortController();
  readonly #leave: (one: Attached) => void;
  /** What it threw last: why its links end, if they do. */
  threw: PatchbayError | undefined;

  constructor(
    worker: Worker | MessagePort,
    name: string,
    owned: boolean,
    leave: (one: Attached) => void,
  ) {
    this.worker = worker;
    this.name = name;
    this.owned = owned;
    this.#leave = leave;
  }

  terminate(): void {
    if ("terminate" in this.worker) this.worker.terminate();
    const why = new PatchbayError("closed", `${this.name} was terminated`);
    this.stop.abort(why);
    this.#leave(this);
    for (const link of [...this.links]) link.ended(why);
  }

  async release(): Promise<void> {
    this.stop.abort(new PatchbayError("closed", `${this.name} was let go`));
    this.#leave(this);
    await Promise.all([...this.links].map((link) => link.close()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.owned) this.terminate();
    else await this.release();
  }
}

/** The parent of workers. */
export class Parent {
  readonly #options: ParentOptions;
  readonly #attached = new Set<Attached>();
  #accept: ((link: Link) => void) | undefined;
  #closing: Promise<void> | undefined;
  #count = 0;

  /** @param options What it is made with. */
  constructor(options: ParentOptions) {
    this.#options = options;
  }

  /** How many workers it knows. */
  get size(): number {
    return this.#attached.size;
  }

  /** As the hub's `listen`. */
  listen(accept: (link: Link) => void): Promise<LinkListener> {
    this.#accept = accept;
    return Promise.resolve({
      where: "the workers of this thread",
      close: () => this.#closing ??= this.#close(),
    });
  }

  /**
   * Starts a worker; it ends with the bay.
   *
   * @param url Its module.
   * @param options As for `new Worker`; it is a module unless they say otherwise.
   * @throws {PatchbayError} `closed`, `invalid`: no worker can be made of it.
   */
  spawn(url: string | URL, options: WorkerOptions): AttachedWorker {
    this.#checkOpen();
    let worker: Worker;
    try {
      worker = new Worker(url, { type: "module", ...options });
    } catch (error) {
      const { message } = PatchbayError.fromThrown(error);
      throw new PatchbayError("invalid", `no worker can be made of ${url}: ${message}`, {
        remedy: "give the URL of a module, as new URL('./worker.ts', import.meta.url)",
        cause: error,
      });
    }
    return this.#attach(worker, options.name || String(url), true);
  }

  /**
   * Takes in a worker that exists, or a port to one; it is not ended with the bay.
   *
   * @param worker The worker.
   * @throws {PatchbayError} `closed`, `invalid`: it has been adopted before.
   */
  adopt(worker: Worker | MessagePort): AttachedWorker {
    this.#checkOpen();
    if ([...this.#attached].some((one) => one.worker === worker)) {
      throw new PatchbayError("invalid", "this worker has been adopted before", {
        remedy: "adopt each worker once; release() it first to adopt it again",
      });
    }
    return this.#attach(worker, `worker ${++this.#count}`, false);
  }

  #checkOpen(): void {
    if (this.#closing === undefined && this.#accept !== undefined) return;
    throw new PatchbayError("closed", "the bay has closed");
  }

  #attach(worker: Worker | MessagePort, name: string, owned: boolean): AttachedWorker {
    const attached = new Attached(worker, name, owned, (one) => this.#attached.delete(one));
    this.#attached.add(attached);
    const { signal } = attached.stop;
    worker.addEventListener("message", (event) => {
      const { data, ports } = event as MessageEvent;
      const greeting = heard(data);
      if (greeting?.say !== "dial" || ports.length === 0) return;
      void this.#dialled(attached, greeting, ports[0]);
    }, { signal });
    worker.addEventListener("error", (event) => {
      // Deno would end this thread with it; here it is reported.
      event.preventDefault();
      attached.threw = thrown(attached.name, event as ErrorEvent);
      this.#options.report(attached.threw);
    }, { signal });
    const port: Port = worker;
    port.start?.();
    say(port, { say: "adopted" });
    return attached;
  }

  /** A worker has dialled: agree on how, and hand the link to the hub. */
  async #dialled(
    attached: Attached,
    { abilities: theirs }: Greeting & { readonly say: "dial" },
    port: MessagePort,
  ): Promise<void> {
    const { wishes, report } = this.#options;
    const life = await holdLife();
    const late = new AbortController();
    const timer = setTimeout(() => late.abort(), wishes.connectTimeoutMs);
    let link: PortLink | undefined;
    try {
      const mine = abilitiesOf(wishes, life);
      const rings = offer(port, mine, mine.shares && theirs.shares ? makeRings(wishes) : undefined);
      const signal = AbortSignal.any([attached.stop.signal, late.signal]);
      // The link listens before the worker's first frame can come.
      link = await nextMessage(port, signal, (data) => {
        const ready = heard(data);
        if (ready?.say === "bye") return undefined;
        if (ready?.say !== "ready") {
          throw new PatchbayError("protocol", "a worker dials in another way than expected");
        }
        const made = makeLink(port, true, ready.shared ? rings : undefined, theirs, life, wishes);
        attached.links.add(made);
        made.gone.then(() => attached.links.delete(made));
        this.#accept?.(made);
        return made;
      });
    } catch (error) {
      // One that gave up dialling, or was terminated meanwhile, is no news.
      if (!late.signal.aborted && !attached.stop.signal.aborted) {
        report(PatchbayError.fromThrown(error));
      }
    }
    clearTimeout(timer);
    if (link !== undefined) return;
    life?.stop();
    say(port, { say: "bye" });
    port.close();
  }

  /** The hub closes the links at the same time; then nothing is lost with the workers. */
  async #close(): Promise<void> {
    const attached = [...this.#attached];
    await Promise.all(attached.flatMap(({ links }) => [...links].map((link) => link.gone)));
    for (const one of attached) {
      if (one.owned) one.terminate();
      else await one.release();
    }
  }
}

/** Accepts, with memory if it may be shared. */
function offer(port: MessagePort, abilities: Abilities, rings: Rings | undefined) {
  const accept: Greeting = { say: "accept", abilities };
  if (rings === undefined) return void say(port, accept);
  try {
    say(port, { ...accept, rings: rings.memory, capacity: rings.capacity });
    return rings;
  } catch {
    // A page that is not isolated cannot even send it.
    return void say(port, accept);
  }
}

function thrown(name: string, { message, filename, lineno, colno }: ErrorEvent): PatchbayError {
  const where = filename ? ` (${filename}:${lineno}:${colno})` : "";
  return new PatchbayError("remote", `${name}: ${message || "it cannot be loaded"}${where}`, {
    details: { filename, lineno, colno },
  });
}
