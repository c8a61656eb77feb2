/**
 * Publishes a bay's counters as a file, at most once a second and only when they have moved.
 *
 * @module
 */

import { dirname } from "./path.ts";
import type { StatisticsSnapshot } from "@patchbay/core";
import { STATISTICS_FOLDER, statisticsPath, writeAtomically } from "./entry.ts";

/** How often it is looked whether anything moved, in milliseconds. */
const INTERVAL_MS = 1000;
/** The largest file that is read, in bytes: 10 000 endpoints with their distributions. */
const MAX_BYTES = 32 * 1024 * 1024;

/** What is in a statistics file. */
export interface PublishedStatistics {
  /** The bay's random id. */
  readonly id: string;
  /** The counters. */
  readonly snapshot: StatisticsSnapshot;
}

/** Writes the file until it is disposed of. It keeps no process alive. */
export class StatisticsFile implements Disposable {
  readonly #path: string;
  readonly #mode: number;
  readonly #id: string;
  readonly #take: () => StatisticsSnapshot;
  readonly #timer: ReturnType<typeof setInterval>;
  #last = "";

  /**
   * @param folder The runtime directory. The file is in a folder of its own below it, so that
   *   writing it every second wakes nobody who watches the directory.
   * @param identity Whose counters they are.
   * @param mode The file's mode.
   * @param take Takes them.
   */
  constructor(
    folder: string,
    identity: { readonly id: string; readonly instance: string },
    mode: number,
    take: () => StatisticsSnapshot,
  ) {
    this.#path = statisticsPath(folder, identity.instance);
    this.#mode = mode;
    this.#id = identity.id;
    this.#take = take;
    this.#timer = setInterval(() => this.#publish(), INTERVAL_MS);
    Deno.unrefTimer(this.#timer);
  }

  /** Stops, and removes the file. Idempotent. */
  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    try {
      Deno.removeSync(this.#path);
    } catch {
      // It was never written, or is another user's concern; a dead bay's file is cleaned anyway.
    }
  }

  #publish(): void {
    const snapshot = this.#take();
    const counted = JSON.stringify([snapshot.transports, snapshot.endpoints]);
    if (counted === this.#last) return;
    const text = JSON.stringify({ id: this.#id, snapshot } satisfies PublishedStatistics);
    try {
      makeFolder(dirname(this.#path), this.#mode);
      writeAtomically(this.#path, `${this.#path}.tmp`, text, this.#mode);
      this.#last = counted;
    } catch {
      // A full disk must not stop a module that works; it is tried again in a second.
    }
  }
}

function makeFolder(path: string, fileMode: number): void {
  // Who may read a file may enter its folder.
  const mode = 0o700 | (fileMode & 0o066) | ((fileMode & 0o044) >> 2);
  try {
    Deno.mkdirSync(path, { mode });
  } catch (error) {
    if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
    return;
  }
  if ((mode & 0o077) !== 0 && Deno.build.os !== "windows") Deno.chmodSync(path, mode);
}

/**
 * Reads what a bay has published.
 *
 * @param folder The runtime directory.
 * @param instance The bay's instance name.
 * @returns `undefined` if there is nothing, or nothing readable.
 */
export function readStatistics(folder: string, instance: string): PublishedStatistics | undefined {
  try {
    const path = statisticsPath(folder, instance);
    if (Deno.lstatSync(path).size > MAX_BYTES) return undefined;
    const value = JSON.parse(Deno.readTextFileSync(path)) as Partial<PublishedStatistics> | null;
    const { id, snapshot } = value ?? {};
    const right = typeof id === "string" && typeof snapshot?.takenAtMs === "number" &&
      Array.isArray(snapshot.transports) && Array.isArray(snapshot.endpoints);
    return right ? { id, snapshot } : undefined;
  } catch {
    return undefined;
  }
}

/** The instances that have a statistics file. */
export function publishedInstances(folder: string): string[] {
  try {
    return [...Deno.readDirSync(`${folder}/${STATISTICS_FOLDER}`)].flatMap(({ name }) => {
      const instance = /^([a-z0-9][a-z0-9_-]*)\.json(?:\.tmp)?$/.exec(name)?.[1];
      return instance ?? [];
    });
  } catch {
    return [];
  }
}
