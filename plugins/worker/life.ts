/**
 * Tells when the other thread has died, however it ended: each side holds a Web Lock as long as it
 * lives, and waits for the other's. Pages and Deno give a lock back with the thread that held it.
 *
 * @module
 */

/** A lock that is held, or waited for. */
export interface Watch {
  /** Gives it back, or waits no longer. Idempotent. */
  stop(): void;
}

/** What is used of Web Locks (https://w3c.github.io/web-locks/). */
interface Locks {
  request(name: string, work: () => unknown): Promise<unknown>;
  request(name: string, options: { signal: AbortSignal }, work: () => unknown): Promise<unknown>;
}

/** Web Locks, where they are: pages need a secure context. */
function locks(): Locks | undefined {
  if (typeof navigator === "undefined") return undefined;
  return Reflect.get(navigator, "locks") as Locks | undefined;
}

/**
 * Holds a lock of a new name.
 *
 * @returns The name and how to give it back; `undefined` where there are no locks.
 */
export async function holdLife(): Promise<Watch & { readonly name: string } | undefined> {
  const manager = locks();
  if (manager === undefined) return undefined;
  const name = `patchbay.worker.${crypto.randomUUID()}`;
  const held = Promise.withResolvers<boolean>();
  const release = Promise.withResolvers<void>();
  manager.request(name, () => {
    held.resolve(true);
    return release.promise;
  }).catch(() => held.resolve(false));
  if (!await held.promise) return undefined;
  return { name, stop: release.resolve };
}

/**
 * Waits for a lock that somebody else holds.
 *
 * @param name Its name.
 * @param onDeath Called once, when it was given back.
 */
export function watchLife(name: string | undefined, onDeath: () => void): Watch | undefined {
  const manager = locks();
  if (manager === undefined || name === undefined) return undefined;
  const stop = new AbortController();
  manager.request(name, { signal: stop.signal }, () => {
    if (!stop.signal.aborted) onDeath();
  }).catch(() => {
    // Waited no longer.
  });
  return { stop: () => stop.abort() };
}
