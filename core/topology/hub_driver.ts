/**
 * What a plugin of a hub wire supplies: how the hub listens, how the others dial it.
 *
 * @module
 */

import type { HubView } from "./hub_view.ts";
import type { PatchbayError } from "../errors.ts";
import type { Link } from "../link.ts";
import type { ConfigFields } from "../config.ts";
import type { LinkConfig, LinkListener } from "../link_plugin.ts";
import type { BayIdentity } from "../plugin.ts";

/** How a bay takes part in a hub wire: it is the hub, or it dials it. */
export type HubDriver =
  | {
    /** This bay is the hub. */
    readonly role: "hub";
    /**
     * Begins to listen.
     *
     * @param accept Called with each link that a client has dialled.
     */
    listen(accept: (link: Link) => void): Promise<LinkListener>;
    /**
     * Says who a client is; throws `unauthenticated` if it may not come in.
     *
     * @param credentials What its hello brought.
     * @param bay Who it says it is.
     * @param link How it came.
     * @param metadata What else its hello says.
     */
    authenticate?(
      credentials: string | undefined,
      bay: BayIdentity,
      link: Link,
      metadata: Readonly<Record<string, string>>,
    ): string | undefined | Promise<string | undefined>;
    /** The hub listens: this is the way to look at it. */
    opened?(hub: HubView): void;
    /**
     * A client comes in; others may have come since {@link authenticate}. Throws if it may not after
     * all.
     *
     * @param bay Who it is.
     * @param metadata What else its hello says.
     */
    joined?(bay: BayIdentity, metadata: Readonly<Record<string, string>>): void;
    /** Its connection has ended; once for each {@link joined} that has not thrown. */
    left?(bay: BayIdentity): void;
    /** A client has begun to listen to something, or listens to it no longer. */
    listening?(): void;
  }
  | {
    /** This bay dials the hub. */
    readonly role: "client";
    /** Where the hub listens: for messages and `explain`. */
    readonly where: string;
    /** Sent with the hello. */
    readonly credentials?: string;
    /** What else is said with the hello: at most 4096 characters a value. */
    readonly metadata?: Readonly<Record<string, string>>;
    /**
     * Dials the hub.
     *
     * @param signal Gives up.
     * @throws {PatchbayError} `unavailable`, `closed`, `unauthenticated`, `forbidden`.
     */
    dial(signal: AbortSignal): Promise<Link>;
    /** The hub has let this bay in; also each time that it does so anew. */
    connected?(): void;
    /**
     * The connection to the hub was lost; it is made again. Not called when this bay closes, or is
     * refused.
     *
     * @param error Why.
     */
    lost?(error: PatchbayError): void;
    /** Frees what dialling shares. */
    close?(): void;
  };

/** The configuration that all hub wires share. */
export interface HubConfig extends LinkConfig {
  /** Whether the hub relays between its clients. */
  readonly relay: boolean;
  /** How long a hub waits for a worker whose connection was lost, in milliseconds. */
  readonly rejoinMs: number;
  /** So many attempts in a row, and a client gives up until it is used again; 0: never. */
  readonly maxAttempts: number;
  /** How many connections a client makes: calls and jobs take turns on them. */
  readonly connections: number;
  /** How long silence may last before a connection is taken for dead, in milliseconds. */
  readonly heartbeatTimeoutMs?: number;
}

/** The fields of {@link HubConfig} that {@link LINK_FIELDS} lacks. */
export const HUB_FIELDS: ConfigFields = {
  relay: {
    kind: "boolean",
    description: "whether the hub relays calls, shouts and jobs between its clients",
    default: true,
  },
  rejoinMs: {
    kind: "integer",
    min: 0,
    description: "how long the hub waits for a worker whose connection was lost, in ms",
    default: 5000,
  },
  maxAttempts: {
    kind: "integer",
    min: 0,
    description: "failed attempts in a row after which a client gives up; 0: never",
    default: 0,
  },
  connections: {
    kind: "integer",
    min: 1,
    max: 64,
    description: "of a client: connections to the hub; calls and jobs take turns on them",
    default: 1,
  },
};
