/**
 * What core asks of a directory of live modules. `host/` keeps one in files; a page has none.
 *
 * @module
 */

import type { Pattern } from "./errors.ts";
import type { Bridged } from "./offers.ts";
import type { BayIdentity } from "./plugin.ts";

/** What a module offers or wants at an address. */
export interface DirectoryEndpoint {
  /** The pattern. */
  readonly pattern: Pattern;
  /** `server`: callables and jobs; `speaker`; `listener`: address is a pattern. */
  readonly role: "server" | "speaker" | "listener";
  /** The address, or a listener's pattern. */
  readonly address: string;
  /** The wires it can be reached over, by plugin name. */
  readonly wires: readonly string[];
  /** Whether several servers may share the address. */
  readonly shared?: boolean;
  /** Of a speaker: whether it keeps its last value. */
  readonly retain?: boolean;
  /** How it came over bridges; absent if the bay itself has it. */
  readonly bridged?: Bridged;
}

/** One live bay. */
export interface DirectoryEntry extends BayIdentity {
  /** The process id, where there is one. */
  readonly pid: number;
  /** When it started, in milliseconds since 1970, by its own clock. */
  readonly startedAtMs: number;
  /** Where each wire listens, by plugin name: a path or URL in the wire's own form. */
  readonly wires: Readonly<Record<string, string>>;
  /** What it offers and wants. */
  readonly endpoints: readonly DirectoryEndpoint[];
}

/** A directory of live bays, as one bay sees it. */
export interface Directory {
  /**
   * Says where this bay's wire listens.
   *
   * @param wire The plugin's name.
   * @param where The path or URL; `undefined` when it no longer listens.
   */
  listening(wire: string, where: string | undefined): Promise<void>;
  /**
   * Adds endpoints of this bay; resolves when everyone who looks now finds them.
   *
   * @param endpoint What to add.
   * @throws {PatchbayError} `unavailable`: an exclusive address is taken, naming the holder.
   */
  add(endpoint: DirectoryEndpoint): Promise<void>;
  /**
   * Takes an endpoint of this bay out.
   *
   * @param endpoint What was added.
   */
  remove(endpoint: DirectoryEndpoint): Promise<void>;
  /** The live bays other than this one, as last read. */
  readonly others: readonly DirectoryEntry[];
  /** Reads anew now, and resolves with what is there. */
  refresh(): Promise<readonly DirectoryEntry[]>;
  /**
   * Calls back whenever {@link others} has changed.
   *
   * @param changed What to call.
   * @returns Ends it.
   */
  watch(changed: () => void): () => void;
  /**
   * Takes this bay's entry out and ends all watching; its wires close next, then {@link close} is
   * called. Idempotent.
   */
  leave?(): Promise<void>;
  /** As {@link leave}, and gives this bay's name free. Idempotent. */
  close(): Promise<void>;
}
