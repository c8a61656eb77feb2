/**
 * What a hub tells of its clients: who they are, what they offer and hear, and how they keep up.
 *
 * @module
 */

import type { Pattern } from "../errors.ts";
import type { BayIdentity } from "../plugin.ts";

/** What a client listens to, and how it keeps up. */
export interface HubListenerView {
  /** The address or pattern. */
  readonly pattern: string;
  /** How many messages there were for it, dropped ones among them. */
  readonly published: number;
  /** How many of them were dropped because it did not keep up. */
  readonly dropped: number;
  /** How many wait for it now. */
  readonly waiting: number;
}

/** One client of a hub. */
export interface HubMemberView {
  /** Who it is. */
  readonly bay: BayIdentity;
  /** Since when it is connected, in epoch milliseconds. */
  readonly sinceMs: number;
  /** What it said of itself in its hello. */
  readonly metadata: Readonly<Record<string, string>>;
  /** What it listens to. */
  readonly listens: readonly HubListenerView[];
  /** What it serves and speaks. */
  readonly offers: readonly { readonly pattern: Pattern; readonly address: string }[];
}

/** A hub, as a plugin can look at it. */
export interface HubView {
  /** Its clients now, in the order in which they came. */
  members(): readonly HubMemberView[];
  /** Cuts a client off; it may connect again. */
  expel(id: string, reason: string): void;
}
