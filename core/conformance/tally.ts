/**
 * Counting what happened, and waiting for it: how cases synchronise without sleeping.
 *
 * @module
 */

/** A list that can be awaited: grows one item at a time, and resolves who waits for a length. */
export class Tally<T> {
  /** What was added, in order. */
  readonly items: T[] = [];
  #waiting: { readonly count: number; readonly resolve: () => void }[] = [];

  /** How many there are. */
  get count(): number {
    return this.items.length;
  }

  /**
   * Adds one.
   *
   * @param item What happened.
   */
  add(item: T): void {
    this.items.push(item);
    const due = this.#waiting.filter((each) => each.count <= this.items.length);
    if (due.length === 0) return;
    this.#waiting = this.#waiting.filter((each) => each.count > this.items.length);
    for (const each of due) each.resolve();
  }

  /**
   * Resolves with all items as soon as there are so many.
   *
   * @param count How many.
   */
  async reach(count: number): Promise<readonly T[]> {
    if (this.items.length < count) {
      await new Promise<void>((resolve) => this.#waiting.push({ count, resolve }));
    }
    return this.items;
  }
}

/** A door that is opened once. */
export class Gate {
  /** Resolves when the door is open. */
  readonly opened: Promise<void>;
  /** Opens it. */
  readonly open: () => void;

  /** Closed at first. */
  constructor() {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.opened = promise;
    this.open = resolve;
  }
}

/**
 * Asks again and again, between turns of the event loop, until the answer is yes.
 *
 * @param check The question.
 * @param signal Gives up, with the signal's reason.
 */
export async function until(
  check: () => boolean | Promise<boolean>,
  signal: AbortSignal,
): Promise<void> {
  while (!await check()) {
    signal.throwIfAborted();
    await new Promise<void>((resolve) => setTimeout(resolve, 1));
  }
}
