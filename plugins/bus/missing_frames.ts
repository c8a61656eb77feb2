/**
 * Counts the frames of one type that were sent and have not come: by each sender's numbers, whatever
 * overtakes what.
 *
 * @module
 */

/** So many senders of one type are remembered. */
const MAX_SENDERS = 1024;

interface Sender {
  /** The number of its frame that came first: what was sent before is not for this side. */
  readonly first: number;
  /** The highest number that has come. */
  last: number;
  /** How many have come, the first among them. */
  came: number;
  /** When it was heard last, in frames of all senders. */
  heardAt: number;
}

/**
 * The frames of one type that have not come.
 *
 * A frame that is overtaken by one of a higher lane is missing until it comes; one that was dropped
 * on the way stays missing.
 */
export class MissingFrames {
  readonly #senders = new Map<string, Sender>();
  /** Of senders that are remembered no longer. */
  #settled = 0;
  #heard = 0;

  /** How many are missing now. */
  get count(): number {
    let count = this.#settled;
    for (const sender of this.#senders.values()) count += missing(sender);
    return count;
  }

  /**
   * A frame has come.
   *
   * @param origin The id of its sender's bay.
   * @param sequence Its number there; each comes once.
   */
  came(origin: string, sequence: number): void {
    const sender = this.#senders.get(origin);
    const heardAt = ++this.#heard;
    if (sender === undefined) {
      if (this.#senders.size >= MAX_SENDERS) this.#forget();
      this.#senders.set(origin, { first: sequence, last: sequence, came: 1, heardAt });
      return;
    }
    sender.heardAt = heardAt;
    // The very first one had overtaken it.
    if (sequence < sender.first) return;
    sender.came++;
    if (sequence > sender.last) sender.last = sequence;
  }

  /** Who has been silent for longest has most probably gone. */
  #forget(): void {
    let oldest = "";
    let least = Infinity;
    for (const [origin, { heardAt }] of this.#senders) {
      if (heardAt < least) [oldest, least] = [origin, heardAt];
    }
    this.#settled += missing(this.#senders.get(oldest) as Sender);
    this.#senders.delete(oldest);
  }
}

function missing({ first, last, came }: Sender): number {
  return last - first + 1 - came;
}
