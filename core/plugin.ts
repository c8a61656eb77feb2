/**
 * The plugin contract: what a transport declares, and the ports through which core uses it.
 *
 * Calls go downwards only: core calls a {@link Transport}; the transport answers through the
 * endpoint, call and listener objects that core gave it.
 *
 * @module
 */

import type { CodecTable } from "./codec.ts";
import type { NativeNames } from "./contract.ts";
import type { ConfigFields } from "./config.ts";
import type { Directory } from "./directory.ts";
import type { PatchbayError, Pattern } from "./errors.ts";
import type { OutboundCall, ServerSchemas } from "./callable.ts";
import type { CallableEndpoint } from "./callable_endpoint.ts";
import type { OutboundJob } from "./job.ts";
import type { JobEndpoint } from "./job_endpoint.ts";
import type { EventContext } from "./listener.ts";
import type { ListenerEndpoint } from "./listener_endpoint.ts";
import type { Watching } from "./offers.ts";
import type { StandardSchema } from "./schema.ts";
import type { SpeakerEndpoint } from "./speaker.ts";
import type { TransportStatistics } from "./statistics.ts";
import type { TimerWheel } from "./timer_wheel.ts";

/** Which patterns a transport has. */
export interface Capabilities {
  /** Request and response. */
  readonly callable: boolean;
  /** Publish and subscribe. */
  readonly speaker: boolean;
  /** Long tasks. */
  readonly job: boolean;
}

/** How far a transport reaches: this process, this host, or the network. */
export type Scope = "process" | "host" | "network";

/** What a transport really gives. Documentation, conformance tests and `doctor` read it. */
export interface Traits {
  /** Messages of one address and priority arrive in the order they were sent. */
  readonly ordered: boolean;
  /** How often a message that was sent arrives, if nothing breaks for good. */
  readonly delivery: "at_most_once" | "at_least_once";
  /** Late listeners can get the last value. */
  readonly retained: boolean;
  /** Headers, deadlines and trace context travel. */
  readonly headers: boolean;
  /** Whether they travel with shouts, where that differs from {@link Traits.headers}. */
  readonly shoutHeaders?: boolean;
  /** Where jobs come from: the wire itself, core's derivation, or nowhere. */
  readonly job: "native" | "derived" | "none";
  /** The largest payload that can be configured, in bytes; `Infinity` where values are passed. */
  readonly maxPayloadBytes: number;
  /** A receiver can be given a view into the wire's own memory. */
  readonly zeroCopy: boolean;
  /** References are passed, not bytes: no codec, no copy, receivers must not mutate. */
  readonly values: boolean;
  /** A listener with overflow `block` holds back the speaker. */
  readonly backpressure: boolean;
  /** The death of a peer is noticed at once, without waiting for a deadline. */
  readonly noticesDeath: boolean;
}

/** Whether a transport can be used here, and if not, why and what to do. */
export type Availability =
  | {
    /** It can. */
    readonly available: true;
    /** A version or path worth showing. */
    readonly detail?: string;
  }
  | {
    /** It cannot. */
    readonly available: false;
    /** Why not. */
    readonly reason: string;
    /** A command to run, a flag to pass, a setting to change. */
    readonly remedy: string;
  };

/** Something that a dead process has left, outside the runtime directory. */
export interface Leftover {
  /** Where it is, as people find it: a path, a name in the kernel. */
  readonly what: string;
  /** How much memory it holds, in bytes, where that is known. */
  readonly bytes?: number;
  /** Removes it; answers whether it did. It asks once more whether its owner is dead. */
  remove(): boolean;
}

/** How a transport is doing. */
export interface Health {
  /** `healthy`; `degraded`: works in part or is reconnecting; `down`: does not work. */
  readonly status: "healthy" | "degraded" | "down";
  /** Why it is not healthy. */
  readonly reason?: string;
}

/** Whether an address can be reached over a transport. */
export type Finding =
  | {
    /** Somebody serves it. */
    readonly found: true;
    /** Who: module name, path, host. */
    readonly detail?: string;
  }
  | {
    /** Nobody does. */
    readonly found: false;
    /** Why not, for the error that lists every transport. */
    readonly reason: string;
    /** What to do. */
    readonly remedy?: string;
    /** Somebody does, and this wire cannot reach them now: where no other can, it is unavailable. */
    readonly unable?: true;
  }
  | {
    /** The wire cannot tell without trying. */
    readonly found: "unknown";
  };

/** Who is on the other side of a connection. */
export interface Peer {
  /** Its module name, as it says. */
  readonly module: string;
  /** The wire it came over. */
  readonly transport: string;
  /** Who it has proved to be, where the wire can prove that. */
  readonly identity?: string;
  /** Whether it is on this host. */
  readonly local: boolean;
}

/** What a peer wants to do with an address. */
export type Verb = "call" | "listen" | "execute" | "shout" | "serve";

/** Decides what a peer may do. Asked once for each connection, verb and address. */
export type Authorize = (
  peer: Peer,
  verb: Verb,
  address: string,
) => boolean | Promise<boolean>;

/** Undoes a `serve`, `listen` or `perform`. Idempotent. */
export interface Registration {
  /** Takes the endpoint off the wire. */
  close(): Promise<void>;
}

/** The way calls to one address take. */
export interface CallPort {
  /** The server's contract where it is in this process: what it validates is not validated twice. */
  readonly contract?: ServerSchemas;
  /**
   * Sends a call. The port must end it with exactly one of `call.succeed` and `call.fail`, at once
   * or later, unless it is cancelled. It never throws.
   */
  start(call: OutboundCall): void;
  /** The caller has given up (deadline, abort): tell the server, forget the call. */
  cancel(call: OutboundCall): void;
  /** No more calls come: frees what the port holds when the calls in flight have ended. */
  close(): void;
}

/** The way shouts of one speaker take. */
export interface SpeakerPort {
  /**
   * Sends a value to every listener of this transport. Answers with a promise only while a
   * listener with overflow `block` is full.
   */
  shout(value: unknown, event: EventContext): void | Promise<void>;
  /** How many listeners this transport has for it now. */
  readonly listeners: number;
  /** Resolves when the listeners that the directory names have joined, or after a second. */
  ready?(): Promise<void>;
  /** Takes the speaker off the wire. */
  close(): Promise<void>;
}

/** The way one job takes. */
export interface JobPort {
  /**
   * Sends a goal. The port must call `job.accepted` and then end it with `job.succeed` or
   * `job.fail`, or only `job.fail`. It never throws.
   */
  start(job: OutboundJob): void;
  /** The owner wants the job to stop. The job still ends through `succeed` or `fail`. */
  cancel(job: OutboundJob, reason: string | undefined): void;
  /** The owner no longer listens: forget it here, cancel it there. */
  abandon(job: OutboundJob): void;
  /** Frees what the port holds; jobs in flight fail with `closed`. */
  close(): void;
}

/** An opened plugin. Every method may be called until `close` has been. */
export interface Transport<Extras = unknown> {
  /** What only this wire has; reached through `bay.transport(plugin)`. */
  readonly extras: Extras;
  /** How it is doing. Cheap: called by every look at the statistics. */
  health(): Health;
  /**
   * Whether somebody is there for an address. Answers within a second. `native` is what a contract or
   * call says that wires call it: it may lead to a foreign peer.
   */
  find(
    pattern: Pattern,
    address: string,
    native?: NativeNames,
  ): Finding | Promise<Finding>;
  /**
   * Watches what others offer at the addresses of a pattern; resolves when those known now are
   * told. Absent where the wire cannot know. What bridges need: see decision 0007.
   */
  watch?(match: string, changed: () => void): Promise<Watching>;
  /** Puts a callable on the wire; resolves when it can be called. */
  serve?(endpoint: CallableEndpoint): Promise<Registration>;
  /** Binds a caller to an address. Must not wait: what takes time happens in `start`. */
  caller?(address: string): CallPort;
  /** Puts a speaker on the wire; resolves when it can be joined. */
  speak?(endpoint: SpeakerEndpoint): Promise<SpeakerPort>;
  /** Joins every matching speaker; resolves when those known now have acknowledged. */
  listen?(endpoint: ListenerEndpoint): Promise<Registration>;
  /** Puts a job on the wire; resolves when goals can be sent. */
  perform?(endpoint: JobEndpoint): Promise<Registration>;
  /** Binds an executor to an address. Must not wait. */
  executor?(address: string): JobPort;
  /** Drains (5 s at most), closes everything, frees kernel objects. Idempotent. */
  close(): Promise<void>;
}

/** What core gives a plugin when it opens it. */
export interface TransportContext {
  /** The plugin's name. */
  readonly name: string;
  /** Who this bay is. */
  readonly identity: BayIdentity;
  /** The bay's one timer. */
  readonly timers: TimerWheel;
  /** The codecs this bay knows. */
  readonly codecs: CodecTable;
  /** The directory of live endpoints; absent where there is none, as in a page. */
  readonly directory: Directory | undefined;
  /** The transport's own counters. */
  readonly statistics: TransportStatistics;
  /** Who may do what; absent: whoever can connect may. */
  readonly authorize: Authorize | undefined;
  /** The largest message, in bytes. */
  readonly maxMessageBytes: number;
  /** Says who is known to have become reachable or unreachable, so that callers choose anew. */
  routesChanged(): void;
  /** Reports what nobody awaits: an undecodable message, a listener that threw. */
  report(error: PatchbayError): void;
}

/** Who a bay is. */
export interface BayIdentity {
  /** Random, new for each bay: 16 hexadecimal digits. */
  readonly id: string;
  /** The module's name. */
  readonly module: string;
  /** Tells several instances of a module apart; equal to `module` for the only one. */
  readonly instance: string;
}

/** Where a bay will be, as far as that is known before it is opened. */
export interface FuturePlace {
  /** The folder in which the bays of this host find each other. */
  readonly runtimeDir: string;
  /** The instances that it will dial. */
  readonly peers: readonly string[];
}

/**
 * A transport plugin. A plugin's `mod.ts` exports one as its default.
 *
 * Importing a plugin opens, dials and loads nothing; `available` never throws or hangs.
 *
 * @typeParam Name The plugin's name as a literal.
 * @typeParam Able Which patterns it has, as literals, so that misuse is a compile error.
 * @typeParam Config Its configuration with defaults filled in.
 * @typeParam Extras What only this wire has.
 */
export interface Plugin<
  Name extends string = string,
  Able extends Capabilities = Capabilities,
  Config = unknown,
  Extras = unknown,
> {
  /** The name in `via`, configuration and statistics: `snake_case`. */
  readonly name: Name;
  /** One sentence for `doctor`. */
  readonly summary: string;
  /** Which patterns it has. */
  readonly capabilities: Able;
  /** How far it reaches. */
  readonly scope: Scope;
  /** Order within the scope, lower first. */
  readonly rank: number;
  /** What it really gives. */
  readonly traits: Traits;
  /** The largest message where neither the bay nor the wire is told one, in bytes; default 10 MiB. */
  readonly defaultMaxMessageBytes?: number;
  /** The configuration's schema; a {@link ConfigFields} table lets `doctor` print it. */
  readonly config: StandardSchema<Partial<Config>, Config> & { readonly fields?: ConfigFields };
  /** The Deno permission flags it needs, for `doctor` and `run --print-permissions`. */
  permissions?(config: Config, identity: BayIdentity, place?: FuturePlace): readonly string[];
  /** Whether it can be used here; within a second; never throws. */
  available(config: Config): Availability | Promise<Availability>;
  /**
   * What dead processes have left of it outside the runtime directory, for `doctor` and
   * `cleanStale`. A wire whose things vanish with their process has none.
   */
  leftovers?(): readonly Leftover[] | Promise<readonly Leftover[]>;
  /** Opens it. */
  open(context: TransportContext, config: Config): Promise<Transport<Extras>>;
}
