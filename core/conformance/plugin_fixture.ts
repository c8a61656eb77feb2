/**
 * What a plugin's author supplies: how the suite makes a place for bays to meet, cuts its wire, and
 * speaks to it as a stranger.
 *
 * @module
 */

import type { OpenOptions } from "../open.ts";
import type { Plugin } from "../plugin.ts";
import type { FarProgram } from "./far_program.ts";

/** Where the far side of a case lives: in the same bay, in another bay here, in another process. */
export type Layout = "alone" | "same_process" | "two_processes";

/** Every layout. */
export const LAYOUTS: readonly Layout[] = ["alone", "same_process", "two_processes"];

/** A value that JSON carries. */
export type Json =
  | null
  | boolean
  | number
  | string
  | readonly Json[]
  | { readonly [key: string]: Json };

/** What a case may ask of a bay besides its module's name. All of it is JSON. */
export interface Overrides {
  /** As {@link OpenOptions.maxMessageBytes}. */
  readonly maxMessageBytes?: number;
}

/** What came of writing raw bytes to the listening side. */
export interface StrangerOutcome {
  /** What came back before the connection was closed, or before `forMs` were over. */
  readonly reply: Uint8Array;
  /** Whether the listening side closed the connection. */
  readonly closed: boolean;
}

/** A place in which bays can meet over one wire: a temporary folder, a server, a room. */
export interface Meeting extends AsyncDisposable {
  /**
   * How to open a bay here. Plugins, configuration and directory included.
   *
   * @param module The module's name.
   * @param overrides What the case wants otherwise.
   */
  options(module: string, overrides?: Overrides): OpenOptions;
  /** What another process needs to come here, given to {@link Fixture.join}. */
  readonly place?: Json;
  /** Starts the other program of `two_processes`, where it is no process: a worker, say. */
  program?(): Promise<FarProgram>;
  /**
   * Resolves when what was served or withdrawn on one side is known on the other, where that takes a
   * moment: behind a bridge. Asked for after each change.
   */
  settle?(): Promise<void>;
  /** Cuts every connection between the bays abruptly. They may connect again at once. */
  sever?(): Promise<void>;
  /**
   * Connects to the bay of a module as a program that does not know the protocol, writes the bytes,
   * and resolves when the connection was closed by the bay.
   *
   * @param bytes What to write.
   * @param module Whom to write to.
   */
  stranger?(bytes: Uint8Array, module: string): Promise<StrangerOutcome>;
  /** The first bytes of a peer that speaks only a version of the protocol far in the future. */
  otherVersion?(): Uint8Array;
}

/** How to open a bay whose wire cannot be used, and what it must say. */
export interface Unavailable extends AsyncDisposable {
  /** Options under which the plugin is not available, or fails to open. */
  readonly options: OpenOptions;
  /** What the reason must mention. */
  readonly reason: RegExp;
  /** What the remedy must mention. */
  readonly remedy: RegExp;
}

/** What a fixture can lack, if it says why. */
export type Means = "alone" | "two_processes" | "sever" | "stranger" | "unavailable";

/** Every means. */
export const MEANS: readonly Means[] = [
  "alone",
  "two_processes",
  "sever",
  "stranger",
  "unavailable",
];

/**
 * How the conformance suite runs one plugin. A plugin's `fixture.ts` exports one as its default.
 *
 * Everything that the suite can check needs a means to check it; a fixture that lacks one says why
 * in {@link Fixture.lacks}, or fails a test of its own. So nothing is skipped in silence.
 */
export interface Fixture {
  /** The plugin. */
  readonly plugin: Plugin;
  /** What the tests are called after; default: the plugin's name. */
  readonly name?: string;
  /** The fixture's own `import.meta.url`: another process imports it. */
  readonly url: string;
  /** The layouts in which its wire can be used. */
  readonly layouts: readonly Layout[];
  /** What the tests call the layout `two_processes`; default: that. */
  readonly apart?: string;
  /** Why a means is not there: one sentence each. */
  readonly lacks?: Readonly<Partial<Record<Means, string>>>;
  /** The largest payload that the suite sends, in bytes; 16 MiB where the wire can. */
  readonly largestPayloadBytes: number;
  /**
   * Whether a value that is not portable is refused. Default true. Only a wire by reference, in its
   * fast mode, may say no: it then passes such a value untouched.
   */
  readonly refusesUnportable?: boolean;
  /** Makes a place in which bays can meet. */
  meeting(): Promise<Meeting>;
  /**
   * Comes to a meeting that another process has made.
   *
   * @param place Its {@link Meeting.place}.
   */
  join?(place: Json): Promise<Meeting>;
  /** Makes the circumstances under which the plugin cannot be used. */
  unavailable?(): Promise<Unavailable>;
}
