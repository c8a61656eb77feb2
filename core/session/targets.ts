/**
 * Who serves, performs and publishes on this side of a session, as its inbound half sees them.
 *
 * @module
 */

import type { CallSink, HandlerContext } from "../callable.ts";
import type { PatchbayError } from "../errors.ts";
import type { GoalContext, JobSink } from "../job_endpoint.ts";
import type { Authorize, Peer } from "../plugin.ts";
import type { EndpointStatistics } from "../statistics.ts";
import type { Publication, PublicationHost } from "./publication.ts";
import type { InboundRoute } from "./route.ts";

/** Where calls of a peer go: a callable of this bay, or the way to another bay. */
export interface CallTarget {
  /** Whether values are passed on as they came, as {@link import("./passing.ts").Passing}. */
  readonly passes?: true;
  /** The address. */
  readonly address: string;
  /** The codec of responses that are bare bytes. */
  readonly contract: { readonly codec?: string };
  /** Its counters. */
  readonly statistics: EndpointStatistics;
  /** As {@link import("../callable_endpoint.ts").CallableEndpoint.handle}. */
  handle(value: unknown, context: HandlerContext, sink: CallSink): void;
  /** As {@link import("../callable_endpoint.ts").CallableEndpoint.abandon}. */
  abandon(sink: CallSink): void;
}

/** A job that a peer has begun here. */
export interface RunTarget {
  /** Asks it to stop. */
  cancel(reason?: string): void;
  /** The owner's connection is lost; ignored if the owner is back over another than `sink`. */
  detach(sink?: JobSink): void;
  /** The owner is back. */
  attach(sink: JobSink, after: number): void;
  /** The owner wants no outcome; default: detached, then cancelled. */
  abandon?(reason?: string): void;
}

/** Where jobs of a peer go: a job of this bay, or the way to another bay. */
export interface JobTarget {
  /** As {@link CallTarget.passes}. */
  readonly passes?: true;
  /** The address. */
  readonly address: string;
  /** The codec of feedback and result. */
  readonly contract: { readonly codec?: string };
  /** Its counters. */
  readonly statistics: EndpointStatistics;
  /** As {@link import("../job_endpoint.ts").JobEndpoint.start}. */
  start(id: string, goal: unknown, context: GoalContext, sink: JobSink): RunTarget | undefined;
  /** As {@link import("../job_endpoint.ts").JobEndpoint.find}. */
  find(id: string): RunTarget | undefined;
}

/** Who serves and publishes on this side. */
export interface SessionHost {
  /** Changes whenever a lookup may come out otherwise. */
  readonly version: number;
  /** The callable served at an address, for a peer. */
  callable(address: string, from: InboundHost): CallTarget | undefined;
  /** The job performed at an address, for a peer. */
  job(address: string, from: InboundHost): JobTarget | undefined;
  /** Before a subscription is acknowledged: what else has to acknowledge it. Never rejects. */
  joining?(publication: Publication): Promise<void> | undefined;
  /** A frame of the hub came: register, register-ack, unregister, find, presence or watch. */
  hubFrame?(from: InboundHost, kind: number, id: number, body: Record<string, unknown>): void;
  /** The peer has subscribed: publish to it from now on. */
  subscribed(publication: Publication): void;
  /** The peer has unsubscribed, or is gone. */
  unsubscribed(publication: Publication): void;
}

/** What this half asks of its session. */
export interface InboundHost extends PublicationHost {
  /** Who serves and publishes here. */
  readonly host: SessionHost;
  /** Who is on the other side. */
  readonly peer: Peer;
  /** Who may do what. */
  readonly authorize: Authorize | undefined;
  /** The record of an address that the peer has bound to a number. */
  inboundRoute(route: number): InboundRoute;
  /** The peer does not read its answers: the session must end. */
  overloaded(): void;
  /** Reports what nobody awaits. */
  report(error: PatchbayError): void;
}
