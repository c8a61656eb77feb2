/**
 * The host directory of live bays: one file and one lock a bay in the runtime directory.
 *
 * @module
 */

import {
  type BayIdentity,
  type Directory,
  type DirectoryEndpoint,
  type DirectoryEntry,
  PatchbayError,
  type StatisticsSnapshot,
  type TransportContext,
} from "@patchbay/core";
import { entryPath, fileMode, lockPath, readEntry, writeEntry } from "./entry.ts";
import { cleanAfter, FolderView, removeFilesOf } from "./folder_view.ts";
import { FolderWatch } from "./folder_watch.ts";
import { FileLock, withFolderLock } from "./lock.ts";
import { fromNotCapable } from "./permissions.ts";
import { StatisticsFile } from "./statistics_file.ts";

/** How to open a {@link HostDirectory}. */
export interface HostDirectoryOptions {
  /** The runtime directory: what `openRuntimeDir` gave. */
  path: string;
  /**
   * The wires that do not leave their process. Two modules may serve one address over these, since
   * nobody can mistake one for the other.
   */
  processWires?: readonly string[];
  /** Told about malformed entries, and about what fails in the background. */
  report?: (error: PatchbayError) => void;
}

/**
 * Core's directory, kept in files.
 *
 * Guaranteed: an entry is listed while its process lives, however that ends, and not a second
 * longer to anyone who watches; what the dead leave behind is removed by whoever sees it; of two
 * bays that claim one exclusive address at the same time exactly one succeeds.
 *
 * @example
 * ```ts
 * import { HostDirectory, openRuntimeDir } from "@patchbay/host";
 *
 * const parent = await Deno.makeTempDir();
 * const path = openRuntimeDir({ path: `${parent}/run` });
 * const arm = await HostDirectory.open({ id: "1".repeat(16), module: "arm", instance: "arm" }, {
 *   path,
 * });
 * const desk = await HostDirectory.open({ id: "2".repeat(16), module: "desk", instance: "desk" }, {
 *   path,
 * });
 * await arm.add({ pattern: "callable", role: "server", address: "arm/move", wires: ["uds"] });
 * const [entry] = await desk.refresh();
 * console.log(entry.module, entry.endpoints[0].address); // arm arm/move
 * await desk.close();
 * await arm.close();
 * await Deno.remove(parent, { recursive: true });
 * ```
 */
export class HostDirectory implements Directory, AsyncDisposable {
  /** The runtime directory. */
  readonly path: string;
  /** Whose view this is. */
  readonly identity: BayIdentity;
  readonly #lock: FileLock;
  readonly #entryMode: number;
  readonly #lockMode: number;
  readonly #processWires: ReadonlySet<string>;
  readonly #report: (error: PatchbayError) => void;
  readonly #view: FolderView;
  readonly #startedAtMs = Date.now();
  readonly #watchers = new Set<{ readonly changed: () => void }>();
  readonly #cleaning = new Map<string, Promise<void>>();
  readonly #wires = new Map<string, string>();
  #endpoints: DirectoryEndpoint[] = [];
  #writtenAtMs = 0;
  #watch: FolderWatch | undefined;
  #stopping: Promise<void> = Promise.resolve();
  #statistics: StatisticsFile | undefined;
  #leaving: Promise<void> | undefined;
  #closing: Promise<void> | undefined;

  private constructor(identity: BayIdentity, lock: FileLock, options: HostDirectoryOptions) {
    this.path = options.path;
    this.identity = identity;
    this.#lock = lock;
    this.#entryMode = fileMode(options.path, false);
    this.#lockMode = fileMode(options.path, true);
    this.#processWires = new Set(options.processWires);
    this.#report = options.report ?? (() => {});
    this.#view = new FolderView(options.path, identity.instance, this.#report);
  }

  /**
   * Enters a bay into the directory.
   *
   * @param identity Who it is.
   * @param options Where the directory is.
   * @throws {PatchbayError} `unavailable`, not retryable: the instance name is taken by a live
   *   process; `unavailable` with the flags: a permission is missing.
   */
  static async open(identity: BayIdentity, options: HostDirectoryOptions): Promise<HostDirectory> {
    const { path } = options;
    const { instance } = identity;
    try {
      const mode = fileMode(path, true);
      return await withFolderLock(path, mode, async () => {
        const lock = await FileLock.take(lockPath(path, instance), mode);
        if (lock === undefined) throw nameTaken(path, instance);
        let directory: HostDirectory | undefined;
        try {
          removeFilesOf(path, instance); // What a dead bay of the same name has left.
          directory = new HostDirectory(identity, lock, options);
          directory.#write();
          directory.#look();
          return directory;
        } catch (error) {
          if (directory !== undefined) directory.#view[Symbol.dispose]();
          lock.remove();
          throw error;
        }
      });
    } catch (error) {
      throw fromNotCapable(error, `the directory ${path} cannot be used`, [
        `--allow-read=${path}`,
        `--allow-write=${path}`,
      ]);
    }
  }

  /** The live bays other than this one, as last read: by opening, refreshing or watching. */
  get others(): readonly DirectoryEntry[] {
    return this.#view.entries;
  }

  /**
   * Says where this bay's wire listens.
   *
   * @param wire The plugin's name.
   * @param where The path or URL; `undefined` when it no longer listens.
   */
  listening(wire: string, where: string | undefined): Promise<void> {
    return this.#change(() => {
      if (where === undefined) this.#wires.delete(wire);
      else this.#wires.set(wire, where);
    });
  }

  /**
   * Adds an endpoint of this bay; resolves when everyone who looks now finds it.
   *
   * @param endpoint What to add.
   * @throws {PatchbayError} `unavailable`, not retryable: a live module serves the address, and not
   *   both share it; the message names it. `closed`: the directory is closed.
   */
  async add(endpoint: DirectoryEndpoint): Promise<void> {
    if (this.#leaving !== undefined) {
      throw new PatchbayError(
        "closed",
        `the directory entry of ${this.identity.instance} is closed`,
      );
    }
    if (endpoint.role !== "server" || !this.#leavesProcess(endpoint)) {
      return await this.#change(() => this.#endpoints.push(endpoint));
    }
    await withFolderLock(this.path, this.#lockMode, () => {
      this.#look();
      this.#refuseTaken(endpoint);
      return this.#change(() => this.#endpoints.push(endpoint));
    });
  }

  /**
   * Takes an endpoint of this bay out.
   *
   * @param endpoint What was added.
   */
  async remove(endpoint: DirectoryEndpoint): Promise<void> {
    const at = this.#endpoints.indexOf(endpoint);
    if (at < 0) return;
    await this.#change(() => this.#endpoints.splice(at, 1));
  }

  /** Reads anew now, and resolves with the live bays other than this one. */
  // deno-lint-ignore require-await
  async refresh(): Promise<readonly DirectoryEntry[]> {
    this.#look();
    return this.others;
  }

  /**
   * Calls back whenever {@link others} has changed: on file events where the system has them, and
   * within a second when a process died. All callers share one watch, which keeps no process alive.
   *
   * @param changed What to call.
   * @returns Ends it. Idempotent.
   */
  watch(changed: () => void): () => void {
    if (this.#leaving !== undefined) return () => {};
    const watcher = { changed };
    this.#watchers.add(watcher);
    this.#watch ??= new FolderWatch(
      this.path,
      this.identity.instance,
      () => this.#lookInBackground(),
    );
    return () => {
      if (this.#watchers.delete(watcher) && this.#watchers.size === 0) this.#stopWatch();
    };
  }

  /**
   * Publishes counters beside the entry, at most once a second and only when they have moved.
   *
   * @param take Takes a snapshot.
   */
  publishStatistics(take: () => StatisticsSnapshot): void {
    if (this.#leaving !== undefined) return;
    this.#statistics?.[Symbol.dispose]();
    this.#statistics = new StatisticsFile(this.path, this.identity, this.#entryMode, take);
  }

  /**
   * Takes this bay's entry out and ends all watching: nobody finds who no longer answers. Its name
   * stays taken until {@link close}, so that what its wires still have can be told from what the
   * dead have left. Idempotent.
   */
  leave(): Promise<void> {
    return this.#leaving ??= (async () => {
      this.#watchers.clear();
      this.#stopWatch();
      this.#statistics?.[Symbol.dispose]();
      // In the first turn.
      try {
        Deno.removeSync(entryPath(this.path, this.identity.instance));
      } catch (error) {
        if (!(error instanceof Deno.errors.NotFound)) this.#complain(error);
      }
      await this.#stopping;
      await Promise.all(this.#cleaning.values());
      this.#view[Symbol.dispose]();
    })();
  }

  /** Leaves, and gives the name free. Idempotent. */
  close(): Promise<void> {
    return this.#closing ??= (async () => {
      await this.leave();
      try {
        this.#lock.remove();
      } catch (error) {
        this.#complain(error);
      }
    })();
  }

  /** As {@link close}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Looks at the folder; tells who watches; cleans up after the dead. */
  #look(): void {
    if (this.#leaving !== undefined) return;
    const { changed, dead } = this.#view.look();
    for (const instance of dead) this.#clean(instance);
    if (!changed) return;
    for (const { changed } of [...this.#watchers]) {
      try {
        changed();
      } catch (error) {
        this.#complain(error);
      }
    }
  }

  #lookInBackground(): void {
    try {
      this.#look();
    } catch (error) {
      this.#complain(error);
    }
  }

  #clean(instance: string): void {
    if (this.#cleaning.has(instance)) return;
    const work = cleanAfter(this.path, instance).then(() => {}, (error) => this.#complain(error))
      .finally(() => this.#cleaning.delete(instance));
    this.#cleaning.set(instance, work);
  }

  #stopWatch(): void {
    const watch = this.#watch;
    this.#watch = undefined;
    if (watch === undefined) return;
    this.#stopping = Promise.all([this.#stopping, watch[Symbol.asyncDispose]()]).then(() => {});
  }

  #complain(error: unknown): void {
    this.#report(
      error instanceof PatchbayError ? error : new PatchbayError(
        "internal",
        `the directory ${this.path}: ${error instanceof Error ? error.message : error}`,
        { cause: error },
      ),
    );
  }

  #leavesProcess(endpoint: DirectoryEndpoint): boolean {
    return endpoint.wires.some((wire) => !this.#processWires.has(wire));
  }

  #refuseTaken(endpoint: DirectoryEndpoint): void {
    for (const entry of this.others) {
      const held = entry.endpoints.find((other) =>
        other.role === "server" && other.pattern === endpoint.pattern &&
        other.address === endpoint.address &&
        this.#leavesProcess(other) && !(other.shared && endpoint.shared) &&
        meet(entry, other, endpoint)
      );
      if (held === undefined) continue;
      const who = `${entry.instance} (pid ${entry.pid})`;
      throw new PatchbayError("unavailable", `${endpoint.address} is already served by ${who}`, {
        address: endpoint.address,
        pattern: endpoint.pattern,
        retryable: false,
        details: { module: entry.module, instance: entry.instance, pid: entry.pid },
        remedy: `stop ${who}, or serve both with sharing: "shared"`,
      });
    }
  }

  /** Changes the own entry and writes it; takes the change back if it cannot be written. */
  // deno-lint-ignore require-await
  async #change(change: () => unknown): Promise<void> {
    if (this.#leaving !== undefined) return;
    const endpoints = [...this.#endpoints];
    const wires = [...this.#wires];
    change();
    try {
      this.#write();
    } catch (error) {
      this.#endpoints = endpoints;
      this.#wires.clear();
      for (const [wire, where] of wires) this.#wires.set(wire, where);
      throw error;
    }
  }

  #write(): void {
    // Readers tell a new version by its time in whole milliseconds: no two may be alike.
    this.#writtenAtMs = Math.max(Date.now(), this.#writtenAtMs + 1);
    const entry: DirectoryEntry = {
      ...this.identity,
      pid: Deno.pid,
      startedAtMs: this.#startedAtMs,
      wires: Object.fromEntries(this.#wires),
      endpoints: this.#endpoints,
    };
    try {
      writeEntry(this.path, entry, this.#entryMode, this.#writtenAtMs);
    } catch (error) {
      if (error instanceof PatchbayError) throw error;
      const why = error instanceof Error ? error.message : error;
      const path = entryPath(this.path, entry.instance);
      throw new PatchbayError(
        "unavailable",
        `the directory entry ${path} cannot be written: ${why}`,
        {
          remedy: `look at the space left and the rights of ${this.path}`,
          cause: error,
        },
      );
    }
  }
}

/**
 * Whether somebody could mistake one for the other. What a bridge offers is the very same on another
 * wire, and which of the wires without a listening place are the same nobody can tell from here.
 */
function meet(entry: DirectoryEntry, held: DirectoryEndpoint, wanted: DirectoryEndpoint): boolean {
  if (held.bridged === undefined && wanted.bridged === undefined) return true;
  return held.wires.some((wire) => wanted.wires.includes(wire) && entry.wires[wire] !== undefined);
}

function nameTaken(folder: string, instance: string): PatchbayError {
  const entry = readEntry(folder, instance);
  const known = typeof entry === "object" ? entry : undefined;
  const who = known === undefined ? "another process" : `pid ${known.pid}`;
  return new PatchbayError("unavailable", `the instance name ${instance} is taken by ${who}`, {
    retryable: false,
    remedy: `pass instance: "${instance}-2", or another name that is free`,
    details: { instance, folder, ...(known === undefined ? {} : { pid: known.pid }) },
  });
}

/**
 * The host directory behind a bay's directory; `undefined` where there is none, or another kind.
 *
 * @param directory `bay.directory` or a plugin's `context.directory`.
 */
export function hostDirectory(directory: Directory | undefined): HostDirectory | undefined {
  return directory instanceof HostDirectory ? directory : undefined;
}

/**
 * Why bays have no directory, by the identity that core made for each. A fact about an object that
 * goes with the object, since core's context has no place for it.
 */
const missing = new WeakMap<BayIdentity, PatchbayError>();

/** @ignore Notes why a bay opens without a directory. */
export function noteMissingDirectory(identity: BayIdentity, why: PatchbayError): void {
  missing.set(identity, why);
}

/**
 * The host directory, for a plugin that cannot do without: call it in `open()`.
 *
 * @param context What core gave the plugin.
 * @throws {PatchbayError} `unavailable` or `forbidden`: why there is none, with the remedy.
 */
export function requireHostDirectory(
  context: Pick<TransportContext, "directory" | "identity">,
): HostDirectory {
  const directory = hostDirectory(context.directory);
  if (directory !== undefined) return directory;
  throw missing.get(context.identity) ??
    new PatchbayError("unavailable", "this bay was opened without a host directory", {
      retryable: false,
      remedy: "open it with Patchbay.open of @patchbay/patchbay, or open of @patchbay/host",
    });
}
