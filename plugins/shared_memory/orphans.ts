/**
 * Removes the segments that dead processes have left, of whichever bay they were, and says whether
 * there is room for more.
 *
 * @module
 */

import { type Directory, type Leftover, PatchbayError } from "@patchbay/core";
import { type Libc, libcAvailability, openLibc, SharedMemory } from "@patchbay/ffi";
import { ANY_NAME, NAME_PREFIX, Names } from "./names.ts";

/** A death is told before the kernel has let go of all that the dead had: then look once more. */
const ONCE_MORE_MS = 200;
/** How often to look after a segment whose maker has just left, and the pause between. */
const LOOKS = 50;
const PAUSE_MS = 10;

/** The segments that nobody has any more. */
function orphans(libc: Libc) {
  return SharedMemory.orphans(NAME_PREFIX, { libc }).filter(({ name }) => ANY_NAME.test(name));
}

/**
 * Removes every segment of this user whose maker is dead.
 *
 * One whose maker lives is never touched: it holds a lock on it. Removing one that a peer has mapped
 * takes nothing from that peer.
 *
 * @param libc The C library.
 * @returns Their names.
 */
export function removeOrphans(libc: Libc): string[] {
  return orphans(libc).map(({ name }) => name)
    .filter((name) => SharedMemory.reclaim(name, { libc }));
}

/**
 * What dead processes have left, for `doctor` and `cleanStale`.
 *
 * @throws {PatchbayError} Why the system does not tell.
 */
export function leftovers(): Leftover[] {
  if (Deno.build.os !== "linux" || !libcAvailability().available) return [];
  using libc = openLibc();
  return orphans(libc).map(({ name, bytes }) => ({
    what: `/dev/shm${name}`,
    bytes,
    remove: () => SharedMemory.reclaim(name),
  }));
}

/**
 * Why there is no room for one more segment, after what the dead hold was given back; `undefined` if
 * there is. The only way to know is to take it, and to give it back.
 *
 * @param bytes Its size.
 */
export function lackOfRoom(bytes: number): PatchbayError | undefined {
  try {
    using libc = openLibc();
    const take = () => {
      using memory = SharedMemory.create(Names.ofNobody().next(), bytes, { libc });
      memory.unlink();
    };
    try {
      take();
    } catch (error) {
      // What the dead hold may be what is missing.
      if (removeOrphans(libc).length === 0) throw error;
      take();
    }
    return undefined;
  } catch (error) {
    return PatchbayError.fromThrown(error);
  }
}

/**
 * Removes the name of a segment that was announced to this side and to nobody else, once its maker
 * is dead. A maker that lives removes it by itself.
 *
 * @param name The segment's name.
 * @param libc The C library.
 * @param makerLeft Whether the maker's socket has ended: its process may be about to.
 */
export async function removeAfter(name: string, libc: Libc, makerLeft: boolean): Promise<void> {
  for (let look = 0; look < (makerLeft ? LOOKS : 1); look++) {
    try {
      if (SharedMemory.reclaim(name, { libc })) return;
      // Gone, or never made by whom it was announced; else its maker still has it.
      SharedMemory.open(name, { libc })[Symbol.dispose]();
    } catch (error) {
      const { code } = PatchbayError.fromThrown(error);
      if (code === "not_found" || code === "forbidden") return;
    }
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
}

/** Removes what the dead have left: at once, and whenever a bay has gone from the directory. */
export class Sweeper implements Disposable {
  readonly #directory: Directory;
  readonly #libc: Libc;
  readonly #report: (error: PatchbayError) => void;
  readonly #unwatch: () => void;
  #known = new Set<string>();
  #later: ReturnType<typeof setTimeout> | undefined;

  /**
   * Begins.
   *
   * @param directory Says who lives.
   * @param libc The C library; it must stay open until this was disposed of.
   * @param report Told why segments cannot be looked at.
   */
  constructor(directory: Directory, libc: Libc, report: (error: PatchbayError) => void) {
    this.#directory = directory;
    this.#libc = libc;
    this.#report = report;
    this.#sweep();
    this.#unwatch = directory.watch(() => this.#changed());
  }

  /** Ends. Idempotent. */
  [Symbol.dispose](): void {
    this.#unwatch();
    clearTimeout(this.#later);
  }

  #changed(): void {
    const now = new Set(this.#directory.others.map(({ id }) => id));
    const gone = [...this.#known].some((id) => !now.has(id));
    this.#known = now;
    if (!gone) return;
    this.#sweep();
    clearTimeout(this.#later);
    this.#later = setTimeout(() => this.#sweep(), ONCE_MORE_MS);
    Deno.unrefTimer(this.#later);
  }

  #sweep(): void {
    try {
      removeOrphans(this.#libc);
    } catch (error) {
      this.#report(PatchbayError.fromThrown(error));
    }
  }
}
