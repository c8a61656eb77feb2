/**
 * Tells when a runtime directory may have changed: by file events, and by a look every second,
 * because a process that dies makes no file event.
 *
 * @module
 */

import { instanceOfEntry } from "./entry.ts";

/** How long events are gathered before they are told, in milliseconds. */
const GATHER_MS = 10;
/** How often it is told without any event, in milliseconds. */
const POLL_MS = 1000;

/** Deno's watcher can be iterated by hand and unref'd; its public type does not say so yet. */
interface Watcher extends Deno.FsWatcher {
  next(): Promise<IteratorResult<Deno.FsEvent>>;
  ref?(): void;
  unref?(): void;
}

/** A running watch. It keeps no process alive. */
export class FolderWatch implements AsyncDisposable {
  readonly #own: string;
  readonly #look: () => void;
  readonly #poll: ReturnType<typeof setInterval>;
  readonly #watcher: Watcher | undefined;
  readonly #following: Promise<void>;
  #gathering: ReturnType<typeof setTimeout> | undefined;
  #closed = false;

  /**
   * Starts watching; the first look comes after {@link GATHER_MS}, for what changed before.
   *
   * @param folder The folder.
   * @param own The instance whose entry is not watched.
   * @param look What to do when something may have changed.
   */
  constructor(folder: string, own: string, look: () => void) {
    this.#own = own;
    this.#look = look;
    this.#poll = setInterval(look, POLL_MS);
    Deno.unrefTimer(this.#poll);
    try {
      this.#watcher = Deno.watchFs(folder, { recursive: false }) as Watcher;
    } catch {
      // No inotify instance is left, or the file system has no events: the poll goes on.
    }
    this.#following = this.#follow();
    this.#soon();
  }

  /** Ends it. Idempotent. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#closed) {
      this.#closed = true;
      clearInterval(this.#poll);
      clearTimeout(this.#gathering);
      // The end of the pending read must be seen, even if nothing else keeps the process alive.
      this.#watcher?.ref?.();
      this.#watcher?.close();
    }
    await this.#following;
  }

  async #follow(): Promise<void> {
    const watcher = this.#watcher;
    if (watcher === undefined) return;
    try {
      for (;;) {
        const next = watcher.next();
        // Only a pending read can be unref'd.
        watcher.unref?.();
        const { done, value } = await next;
        if (done) return;
        if (value.kind !== "access" && value.paths.some((path) => this.#concerns(path))) {
          this.#soon();
        }
      }
    } catch {
      // The folder was removed, or the watcher closed: the poll goes on, or nobody watches.
    }
  }

  #concerns(path: string): boolean {
    const name = path.slice(Math.max(path.lastIndexOf("/"), path.lastIndexOf("\\")) + 1);
    const instance = instanceOfEntry(name);
    return instance !== undefined && instance !== this.#own;
  }

  #soon(): void {
    if (this.#gathering !== undefined || this.#closed) return;
    this.#gathering = setTimeout(() => {
      this.#gathering = undefined;
      this.#look();
    }, GATHER_MS);
    Deno.unrefTimer(this.#gathering);
  }
}
