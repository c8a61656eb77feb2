/**
 * The bay: one module's connection to all its wires, and the verbs of the three patterns.
 *
 * @module
 */

import { checkAddress, checkPattern } from "./address.ts";
import type { Bridge } from "./bridge/bridge.ts";
import type { BridgeOptions } from "./bridge/options.ts";
import {
  Callable,
  type CallBinding,
  type CallHandler,
  type CallOptions,
  type CallRouter,
  type ServeOptions,
} from "./callable.ts";
import type { CallableEndpoint } from "./callable_endpoint.ts";
import { allOrNone, type Closable, within } from "./all_or_none.ts";
import type { BytesView } from "./bytes_view.ts";
import type { Explanation, ExtrasOf, Via, WaitOptions, WireStatus, WithVia } from "./bay_types.ts";
import { choose, inOrder, noWire, usable, type Wire } from "./choice.ts";
import {
  type AnyContract,
  type CallableContract,
  defineCallable,
  defineJob,
  defineSpeaker,
  type JobContract,
  type NativeNames,
  type SpeakerContract,
} from "./contract.ts";
import type { Directory, DirectoryEndpoint } from "./directory.ts";
import { PatchbayError, type Pattern } from "./errors.ts";
import { runHook } from "./hook.ts";
import type { ExecuteOptions, JobHandle } from "./job.ts";
import type { JobEndpoint, JobHandler, PerformOptions } from "./job_endpoint.ts";
import type { ListenCallback, Listener, ListenOptions, ViewOptions } from "./listener.ts";
import { Parts } from "./parts.ts";
import type { BayIdentity, Plugin, Registration, Transport } from "./plugin.ts";
import { applySchema } from "./schema.ts";
import { Claims, Served } from "./served.ts";
import type { Epoch } from "./epoch.ts";
import type { Offer } from "./offers.ts";
import type { Speaker, SpeakOptions } from "./speaker.ts";
import type { Statistics } from "./statistics.ts";
import type { TimerWheel } from "./timer_wheel.ts";

/** @ignore What `open` gives the bay. */
export interface BayParts {
  readonly identity: BayIdentity;
  readonly wires: readonly Wire[];
  readonly timers: TimerWheel;
  readonly statistics: Statistics;
  readonly directory: Directory | undefined;
  readonly report: (error: PatchbayError) => void;
  readonly epoch: Epoch;
  readonly onClose: (() => void) | undefined;
}

/** How long a draining endpoint may take, in milliseconds. */
const DRAIN_MS = 5000;
/** How long a call may take by default, by the wire's scope, in milliseconds. */
const CALL_TIMEOUT_MS = { process: 1000, host: 1000, network: 5000 } as const;

/** How many callers {@link Bay.call} keeps bound. */
const MAX_CALLERS = 1024;

/**
 * One module's connection to all its wires. Made by `Patchbay.open()`.
 *
 * @typeParam Plugins The plugins it was opened with, as a tuple, so that `via` is typed.
 */
export class Bay<Plugins extends readonly Plugin[] = readonly Plugin[]> implements AsyncDisposable {
  readonly #parts: BayParts;
  readonly #router: CallRouter;
  readonly #children = new Set<Closable>();
  readonly #claims = new Claims();
  readonly #counters = new Map<string, { sequence: number }>();
  /** The callers behind {@link call}, so that calling by contract binds once. */
  readonly #callers = new Map<unknown, Callable<never, unknown>>();
  /** What this bay itself serves, speaks and performs. */
  readonly #own = new Set<DirectoryEndpoint>();
  readonly #abort = new AbortController();
  readonly #loaded = new Parts();
  #closing: Promise<void> | undefined;
  /** Whether closing is over. */
  #done = false;

  /** @ignore Made by `open`. */
  constructor(parts: BayParts) {
    this.#parts = parts;
    this.#router = {
      get epoch() {
        return parts.epoch.value;
      },
      timers: parts.timers,
      bindCall: (address, via, native) => this.#bindCall(address, via, native),
      release: (binding) => {
        binding.port.close();
        parts.statistics.remove(binding.statistics);
      },
    };
  }

  /** Who this bay is. */
  get identity(): BayIdentity {
    return this.#parts.identity;
  }

  /** What has been counted. */
  get statistics(): Statistics {
    return this.#parts.statistics;
  }

  /** The directory of live modules, where there is one. */
  get directory(): Directory | undefined {
    return this.#parts.directory;
  }

  /**
   * Aborted when the bay begins to close, also by a signal to the process: for timers and loops of
   * the module that should end with it.
   */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** Whether it is closed or closing. */
  get closed(): boolean {
    return this.#closing !== undefined;
  }

  /** Every wire: open and how it is doing, or not, and why. */
  wires(): WireStatus[] {
    return this.#parts.wires.map(({ plugin, transport, detail, reason, remedy }) => ({
      name: plugin.name,
      open: transport !== undefined,
      ...(detail === undefined ? {} : { detail }),
      ...(reason === undefined ? {} : { reason }),
      ...(remedy === undefined ? {} : { remedy }),
      ...(transport === undefined ? {} : { health: transport.health() }),
    }));
  }

  /**
   * What only one wire has.
   *
   * @param plugin The plugin this bay was opened with.
   * @throws {PatchbayError} `unavailable` if it is not open here; `invalid` if it is not loaded.
   */
  transport<P extends Plugin>(plugin: P): ExtrasOf<P> {
    const wire = this.#parts.wires.find((w) => w.plugin.name === plugin.name);
    if (wire === undefined) {
      throw new PatchbayError("invalid", `the bay was opened without the plugin ${plugin.name}`, {
        transport: plugin.name,
        remedy: `pass it: Patchbay.open({ plugins: [${plugin.name}] })`,
      });
    }
    if (wire.transport === undefined) {
      throw new PatchbayError("unavailable", `${plugin.name}: ${wire.reason}`, {
        transport: plugin.name,
        remedy: wire.remedy,
      });
    }
    return wire.transport.extras as ExtrasOf<P>;
  }

  /**
   * Serves a callable on every wire (or those of `via`); resolves when callers can find it.
   *
   * @param contract The contract, or just an address.
   * @param handler Answers calls: `(request, context)`; what it throws reaches the caller.
   * @param options Wires, sharing, calls at once.
   * @throws {PatchbayError} `unavailable` if another module serves the address, or no wire can.
   */
  async serve<
    RequestOut = unknown,
    ResponseIn = unknown,
    RequestIn = unknown,
    ResponseOut = unknown,
  >(
    contract: CallableContract<RequestIn, RequestOut, ResponseIn, ResponseOut> | string,
    handler: CallHandler<RequestOut, ResponseIn>,
    options: WithVia<ServeOptions, Plugins, "callable"> = {},
  ): Promise<Served> {
    const known = typeof contract === "string" ? defineCallable({ address: contract }) : contract;
    const { CallableEndpoint } = await this.#loaded.serving();
    const wires = this.#usable("callable", options.via);
    const endpoint = new CallableEndpoint(
      known,
      handler as CallHandler<never, unknown>,
      this.#count("callable", "server", known.address, wires),
      options,
    );
    return await this.#offer("callable", endpoint, wires, (t) => t.serve?.(endpoint));
  }

  /**
   * A caller of one address, bound to a wire at its first call.
   *
   * @param contract The contract, or just an address.
   * @param options The wires to try, in order.
   */
  callable<RequestIn = unknown, ResponseOut = unknown, RequestOut = unknown, ResponseIn = unknown>(
    contract: CallableContract<RequestIn, RequestOut, ResponseIn, ResponseOut> | string,
    options: { via?: readonly Via<Plugins, "callable">[] } = {},
  ): Callable<RequestIn, ResponseOut> {
    const known = typeof contract === "string" ? defineCallable({ address: contract }) : contract;
    return new Callable(known, this.#router, options.via);
  }

  /**
   * Calls once. For many calls to one address keep a {@link callable}.
   *
   * @param contract The contract, or just an address.
   * @param request The request.
   * @param options Deadline, headers, signal, priority, wires.
   */
  call<RequestIn = unknown, ResponseOut = unknown, RequestOut = unknown, ResponseIn = unknown>(
    contract: CallableContract<RequestIn, RequestOut, ResponseIn, ResponseOut> | string,
    request: RequestIn,
    options: WithVia<CallOptions, Plugins, "callable"> = {},
  ): Promise<ResponseOut> {
    try {
      return this.#caller(contract, options.via).call(request, options);
    } catch (error) {
      // A bad address or contract rejects as everything else does.
      return Promise.reject(error);
    }
  }

  /**
   * Opens a speaker on every wire (or those of `via`); resolves when the listeners known now have
   * joined (a second at most), so that the first shout is heard.
   *
   * @param contract The contract, or just an address.
   * @param options Wires, retention.
   */
  async speaker<ValueIn = unknown, ValueOut = unknown>(
    contract: SpeakerContract<ValueIn, ValueOut> | string,
    options: WithVia<SpeakOptions, Plugins, "speaker"> = {},
  ): Promise<Speaker<ValueIn>> {
    const known = typeof contract === "string" ? defineSpeaker({ address: contract }) : contract;
    const { Speaker, SpeakerEndpoint } = await this.#loaded.speaking();
    this.#live();
    const wires = this.#usable("speaker", options.via);
    let counter = this.#counters.get(known.address);
    if (counter === undefined) this.#counters.set(known.address, counter = { sequence: 0 });
    const endpoint = new SpeakerEndpoint(
      known,
      this.identity.id,
      options.retain ?? known.retain ?? false,
      counter,
      this.#count("speaker", "speaker", known.address, wires),
    );
    const ports = await allOrNone(wires, (wire) => wire.transport?.speak?.(endpoint));
    const { retain } = endpoint;
    const entry = this.#entry("speaker", "speaker", known.address, wires, false, retain);
    const speaker: Speaker<ValueIn> = new Speaker(endpoint, ports, () => {
      this.#children.delete(speaker);
      this.#own.delete(entry);
      this.#parts.statistics.remove(endpoint.statistics);
      return this.#parts.directory?.remove(entry);
    }, () => this.closed && !this.#done);
    this.#children.add(speaker);
    this.#own.add(entry);
    await this.#parts.directory?.add(entry);
    await Promise.all(ports.map((port) => port.ready?.()));
    return speaker;
  }

  /**
   * Listens to bare bytes without a copy of its own for each shout; resolves as the others do.
   *
   * @param contract The contract (without a schema), or an address or pattern.
   * @param callback Called with a view that is valid until it returns.
   * @param options With `views: true`.
   * @throws {PatchbayError} `invalid`: the contract has a schema.
   */
  listen(
    contract: SpeakerContract<Uint8Array, Uint8Array> | string,
    callback: ListenCallback<BytesView>,
    options: WithVia<ViewOptions, Plugins, "speaker">,
  ): Promise<Listener<BytesView>>;
  /**
   * Listens to an address or pattern with a callback; resolves when the speakers known now have
   * acknowledged, so that what they shout afterwards is delivered.
   *
   * @param contract The contract, or an address or pattern such as `arm/*` or `sensor/**`.
   * @param callback Called with each value, one after the other.
   * @param options Wires, queue, overflow, retained values, silence.
   */
  listen<ValueOut = unknown, ValueIn = unknown>(
    contract: SpeakerContract<ValueIn, ValueOut> | string,
    callback: ListenCallback<ValueOut>,
    options?: WithVia<ListenOptions, Plugins, "speaker">,
  ): Promise<Listener<ValueOut>>;
  /**
   * Listens to an address or pattern; the listener is iterated with `for await`.
   *
   * @param contract The contract, or an address or pattern.
   * @param options Wires, queue, overflow, retained values, silence.
   */
  listen<ValueOut = unknown, ValueIn = unknown>(
    contract: SpeakerContract<ValueIn, ValueOut> | string,
    options?: WithVia<ListenOptions, Plugins, "speaker">,
  ): Promise<Listener<ValueOut>>;
  async listen<ValueOut = unknown, ValueIn = unknown>(
    contract: SpeakerContract<ValueIn, ValueOut> | string,
    second?: ListenCallback<ValueOut> | WithVia<ListenOptions, Plugins, "speaker">,
    third?: WithVia<ListenOptions, Plugins, "speaker">,
  ): Promise<Listener<ValueOut>> {
    const { Listener, ListenerEndpoint } = await this.#loaded.listening();
    this.#live();
    const callback = typeof second === "function" ? second : undefined;
    const options = (typeof second === "function" ? third : second) ?? {};
    options.signal?.throwIfAborted();
    const pattern = typeof contract === "string" ? checkPattern(contract) : contract.address;
    const wires = this.#usable("speaker", options.via);
    const endpoint = new ListenerEndpoint(
      pattern,
      typeof contract === "string" ? undefined : contract,
      callback as ListenCallback<never> | undefined,
      options,
      this.#parts,
      this.#count("speaker", "listener", pattern, wires),
      wires.length > 1,
    );
    const entry = this.#entry("speaker", "listener", pattern, wires);
    const { promise, resolve } = Promise.withResolvers<readonly Registration[]>();
    const abort = () => void listener.close();
    const listener: Listener<ValueOut> = new Listener(endpoint, promise, () => {
      options.signal?.removeEventListener("abort", abort);
      this.#children.delete(listener);
      this.#parts.statistics.remove(endpoint.statistics);
      return this.#parts.directory?.remove(entry);
    });
    this.#children.add(listener);
    options.signal?.addEventListener("abort", abort);
    try {
      await this.#parts.directory?.add(entry);
      resolve(await allOrNone(wires, (wire) => wire.transport?.listen?.(endpoint)));
    } catch (error) {
      resolve([]);
      await listener.close();
      throw error;
    }
    return listener;
  }

  /**
   * Performs a job on every wire (or those of `via`); resolves when owners can find it.
   *
   * @param contract The contract, or just an address.
   * @param handler Does the work: `(goal, context)`, or an async generator of feedback.
   * @param options Wires, acceptance, jobs at once, how long to go on without the owner.
   * @throws {PatchbayError} `unavailable` if another module has the address, or no wire can.
   */
  async perform<
    GoalOut = unknown,
    FeedbackIn = unknown,
    ResultIn = unknown,
    GoalIn = unknown,
    FeedbackOut = unknown,
    ResultOut = unknown,
  >(
    contract:
      | JobContract<GoalIn, GoalOut, FeedbackIn, FeedbackOut, ResultIn, ResultOut>
      | string,
    handler: JobHandler<GoalOut, FeedbackIn, ResultIn>,
    options: WithVia<PerformOptions<GoalOut>, Plugins, "job"> = {},
  ): Promise<Served> {
    const known = typeof contract === "string" ? defineJob({ address: contract }) : contract;
    const { JobEndpoint } = await this.#loaded.performing();
    const wires = this.#usable("job", options.via);
    const endpoint = new JobEndpoint(
      known,
      handler as unknown as JobHandler<never, never, unknown>,
      this.#count("job", "server", known.address, wires),
      this.#parts.timers,
      options as PerformOptions<never>,
    );
    return await this.#offer("job", endpoint, wires, (t) => t.perform?.(endpoint));
  }

  /**
   * Sends a goal; resolves when the worker has accepted it.
   *
   * @param contract The contract, or just an address.
   * @param goal The goal.
   * @param options Deadline without feedback, headers, signal, wires, feedback queue.
   * @throws {PatchbayError} The worker's refusal; `not_found`; `overloaded`; `deadline_exceeded`.
   */
  async execute<
    GoalIn = unknown,
    FeedbackOut = unknown,
    ResultOut = unknown,
    GoalOut = unknown,
    FeedbackIn = unknown,
    ResultIn = unknown,
  >(
    contract:
      | JobContract<GoalIn, GoalOut, FeedbackIn, FeedbackOut, ResultIn, ResultOut>
      | string,
    goal: GoalIn,
    options: WithVia<ExecuteOptions, Plugins, "job"> = {},
  ): Promise<JobHandle<FeedbackOut, ResultOut>> {
    this.#live();
    options.signal?.throwIfAborted();
    const known = typeof contract === "string" ? defineJob({ address: contract }) : contract;
    const address = checkAddress(known.address);
    if (known.goal !== undefined) await applySchema(known.goal, goal, "goal");
    const { JobHandle, PendingJob } = await this.#loaded.executing();
    const wire = await this.#choose("job", address, options.via, known.native);
    options.signal?.throwIfAborted();
    const port = wire.transport?.executor?.(address);
    if (port === undefined) throw new PatchbayError("internal", `${wire.plugin.name}: no executor`);
    const job = new PendingJob(
      known,
      {
        port,
        transport: wire.plugin.name,
        statistics: this.#count("job", "client", address, [wire]),
        report: this.#parts.report,
      },
      this.#parts.timers,
      goal,
      options,
    );
    const child = {
      close: async () => {
        if (!job.ended) port.abandon(job);
        job.fail(new PatchbayError("closed", `${address}: the bay was closed`));
        await job.result.catch(() => {});
      },
    };
    this.#children.add(child);
    job.result.catch(() => {}).finally(() => {
      this.#children.delete(child);
      port.close();
    });
    job.start();
    await job.whenAccepted;
    return new JobHandle(job);
  }

  /**
   * Joins two wires: what others serve, speak and perform on the one is there on the other, both
   * ways; resolves when what is there now is.
   *
   * Guaranteed: what comes and goes on the one side comes and goes on the other; no message goes
   * round in a circle of bridges; every queue is bounded, and what is dropped is counted in
   * {@link statistics}, with the reason.
   *
   * @param options The wires, the addresses, and the limits.
   * @throws {PatchbayError} `invalid`: the options; `unavailable`: a wire is not open here.
   *
   * @example
   * ```ts
   * import { Patchbay } from "@patchbay/patchbay";
   * import inProcess, { Room } from "@patchbay/in_process";
   *
   * const parent = await Deno.makeTempDir();
   * const runtimeDirectory = `${parent}/run`;
   * const config = { in_process: { room: new Room() } };
   * {
   *   // The arm is reached in this process only, the desk over uds only.
   *   await using arm = await Patchbay.open({ module: "arm", runtimeDirectory, config });
   *   await arm.serve("arm/move", (to) => `at ${to}`, { via: ["in_process"] });
   *   await using joint = await Patchbay.open({ module: "joint", runtimeDirectory, config });
   *   await using _ = await joint.bridge({ from: "in_process", to: "uds", match: "arm/**" });
   *   await using desk = await Patchbay.open({ module: "desk", runtimeDirectory });
   *   console.log(await desk.call("arm/move", 3)); // at 3
   * }
   * await Deno.remove(parent, { recursive: true });
   * ```
   */
  async bridge(
    options: BridgeOptions<Plugins[number]["name"]>,
  ): Promise<Bridge> {
    this.#live();
    const { identity, wires, timers, statistics, directory, epoch, report } = this.#parts;
    const own = (wire: string, pattern: Pattern, address: string) => {
      for (const one of this.#own) {
        if (one.pattern === pattern && one.address === address && one.wires.includes(wire)) {
          return true;
        }
      }
      return false;
    };
    const host = { identity, wires, timers, statistics, directory, epoch, report, own };
    // What a page hardly ever needs is loaded when it is used.
    const { Bridge } = await import("./bridge/bridge.ts");
    this.#live();
    const bridge: Bridge = new Bridge(host, options, () => this.#children.delete(bridge));
    this.#children.add(bridge);
    await bridge.open();
    return bridge;
  }

  /**
   * What others offer on a wire now, foreign programs included; nothing where the wire cannot tell.
   *
   * @param wire The plugin's name.
   * @param match The addresses; default: all.
   * @throws {PatchbayError} `invalid`: there is no such wire.
   */
  async offers(wire: string, match = "**"): Promise<readonly Offer[]> {
    const [{ transport }] = inOrder(this.#parts.wires, [wire]);
    const watching = await transport?.watch?.(checkPattern(match), () => {});
    const offers = watching?.offers ?? [];
    watching?.close();
    return offers;
  }

  /**
   * How a wire would be chosen for an address, and why the others would not.
   *
   * @param pattern The pattern.
   * @param address The address.
   * @param via The wires asked for, in order.
   */
  async explain(
    pattern: Pattern,
    address: string,
    via?: readonly string[],
  ): Promise<Explanation> {
    const choice = await choose(this.#parts.wires, pattern, checkAddress(address), via);
    return { chosen: choice.wire?.plugin.name, considered: choice.considered };
  }

  /**
   * Waits until somebody serves, performs or speaks at an address: for modules that start in any
   * order.
   *
   * @param contract The contract.
   * @param options How long, and over which wires.
   * @throws {PatchbayError} `deadline_exceeded`, listing every wire with its reason; `closed`.
   *
   * @example
   * ```ts
   * import { defineCallable, Patchbay } from "@patchbay/core";
   * import inProcess from "@patchbay/in_process";
   *
   * const Greet = defineCallable<string, string>({ address: "desk/greet" });
   * await using bay = await Patchbay.open({ plugins: [inProcess] });
   * setTimeout(() => bay.serve(Greet, (name) => `Hello ${name}`), 10);
   * await bay.waitFor(Greet, { timeoutMs: 5000 });
   * console.log(await bay.call(Greet, "Ada"));
   * ```
   */
  async waitFor(contract: AnyContract, options: WaitOptions = {}): Promise<void> {
    const { waitForWire } = await import("./wait_for_wire.ts");
    await waitForWire(this.#parts, contract, options, () => this.#live());
  }

  /**
   * Closes everything that was opened on this bay: endpoints drain (5 s at most), pending calls
   * reject with `closed`, kernel objects are freed. Idempotent.
   */
  close(): Promise<void> {
    if (this.#closing === undefined) {
      this.#abort.abort(
        new PatchbayError("closed", "the bay is closing", {
          retryable: false,
          remedy: "open another one: this one is over",
        }),
      );
      this.#closing = this.#close();
      // Callers that are bound already bind anew, and learn that the bay is closed.
      this.#parts.epoch.next();
    }
    return this.#closing;
  }

  /** As {@link close}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Closes all it can, whatever fails on the way; passes the first failure on. */
  async #close(): Promise<void> {
    const { directory, wires, timers } = this.#parts;
    // Speakers last: what is still being served may shout until it has drained.
    const speaks = (child: Closable) => "shout" in child;
    const children = [...this.#children];
    const others = children.filter((child) => !speaks(child));
    const closings = await Promise.allSettled(others.map((child) => child.close()));
    const speakers = children.filter(speaks);
    closings.push(...await Promise.allSettled(speakers.map((child) => child.close())));
    // Nobody finds this bay any more; its name is free when its wires have gone.
    closings.push(...await Promise.allSettled([directory?.leave?.()]));
    for (const wire of wires) closings.push(...await Promise.allSettled([wire.transport?.close()]));
    closings.push(...await Promise.allSettled([directory?.close()]));
    timers.close();
    this.#done = true;
    const { onClose, report } = this.#parts;
    runHook(() => onClose?.(), (error) => report(PatchbayError.fromThrown(error)));
    const failure = closings.find((closing) => closing.status === "rejected");
    if (failure !== undefined) throw failure.reason;
  }

  #caller<RequestIn, ResponseOut, RequestOut, ResponseIn>(
    contract: CallableContract<RequestIn, RequestOut, ResponseIn, ResponseOut> | string,
    via: readonly Via<Plugins, "callable">[] | undefined,
  ): Callable<RequestIn, ResponseOut> {
    if (via !== undefined) return this.callable(contract, { via });
    let callable = this.#callers.get(contract) as Callable<RequestIn, ResponseOut> | undefined;
    if (callable === undefined) {
      callable = this.callable(contract);
      if (this.#callers.size >= MAX_CALLERS) this.#callers.clear();
      this.#callers.set(contract, callable);
    }
    return callable;
  }

  #live(): void {
    if (this.#closing === undefined) return;
    throw new PatchbayError("closed", `the bay of ${this.identity.module} is closed`, {
      retryable: false,
      remedy: "open another one: this one is over",
    });
  }

  #usable(pattern: Pattern, via: readonly string[] | undefined): Wire[] {
    this.#live();
    return usable(this.#parts.wires, pattern, via);
  }

  #count(
    pattern: Pattern,
    role: "server" | "client" | "speaker" | "listener",
    address: string,
    wires: readonly Wire[],
  ) {
    const names = wires.map((wire) => wire.plugin.name).join(",");
    return this.#parts.statistics.endpoint(pattern, role, address, names);
  }

  #entry(
    pattern: Pattern,
    role: DirectoryEndpoint["role"],
    address: string,
    wires: readonly Wire[],
    shared = false,
    retain?: boolean,
  ): DirectoryEndpoint {
    const names = wires.map((wire) => wire.plugin.name);
    return { pattern, role, address, wires: names, shared, ...(retain ? { retain } : {}) };
  }

  async #choose(
    pattern: Pattern,
    address: string,
    via: readonly string[] | undefined,
    native: NativeNames | undefined,
  ): Promise<Wire> {
    this.#live();
    const choice = await choose(this.#parts.wires, pattern, address, via, native);
    this.#live();
    if (choice.wire === undefined) throw noWire(pattern, address, choice.considered);
    return choice.wire;
  }

  async #bindCall(
    address: string,
    via: readonly string[] | undefined,
    native: NativeNames | undefined,
  ): Promise<CallBinding> {
    const wire = await this.#choose("callable", address, via, native);
    const port = wire.transport?.caller?.(address);
    if (port === undefined) throw new PatchbayError("internal", `${wire.plugin.name}: no caller`);
    return {
      port,
      transport: wire.plugin.name,
      defaultTimeoutMs: CALL_TIMEOUT_MS[wire.plugin.scope],
      statistics: this.#count("callable", "client", address, [wire]),
    };
  }

  /** Puts a server on its wires, then into the directory; takes it back if any of them refuses. */
  async #offer(
    pattern: "callable" | "job",
    endpoint: CallableEndpoint | JobEndpoint,
    wires: readonly Wire[],
    register: (transport: Transport) => Promise<Registration> | undefined,
  ): Promise<Served> {
    const { address, shared } = endpoint;
    this.#live();
    this.#claims.claim(pattern, address, shared);
    const entry = this.#entry(pattern, "server", address, wires, shared);
    this.#own.add(entry);
    let registrations: Registration[] = [];
    const withdraw = async () => {
      this.#own.delete(entry);
      await this.#parts.directory?.remove(entry);
      await within(endpoint.drain(), DRAIN_MS);
      if ("giveUp" in endpoint) endpoint.giveUp();
      for (const registration of registrations) await registration.close();
      this.#parts.statistics.remove(endpoint.statistics);
      this.#claims.release(pattern, address);
    };
    try {
      registrations = await allOrNone(wires, (wire) => wire.transport && register(wire.transport));
      await this.#parts.directory?.add(entry);
    } catch (error) {
      await withdraw();
      throw error;
    }
    const served = new Served(address, async () => {
      this.#children.delete(served);
      await withdraw();
    });
    this.#children.add(served);
    return served;
  }
}
