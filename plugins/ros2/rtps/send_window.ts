/**
 * How much may be under way to one reader: as much as the receive buffer of its socket holds,
 * also inside one large sample.
 *
 * @module
 */

/** What a datagram occupies in a receive buffer beside its bytes. */
const OVERHEAD_BYTES = 512;

/** The window of one reader. */
export class SendWindow {
  /** Numbers of what was sent, and how much had been sent with it. */
  readonly #sequences: number[] = [];
  readonly #totals: number[] = [];
  #head = 0;
  #sent = 0;
  #asked = 0;
  #full = false;
  #acknowledged = 0;
  /** Of the sample that is under way in fragments: how much of it has arrived. */
  #partly = 0;
  /** How many bytes may be under way. */
  maxBytes: number;

  /** @param maxBytes How many bytes may be under way. */
  constructor(maxBytes: number) {
    this.maxBytes = maxBytes;
  }

  /** How many bytes are under way. */
  get inFlight(): number {
    return this.#sent - this.#acknowledged - this.#partly;
  }

  /**
   * Whether so many bytes may follow; something always may when nothing is under way. Once full, it
   * stays so until half of it is free: else each answer would be followed by a crumb.
   */
  admits(bytes: number): boolean {
    const { inFlight } = this;
    if (inFlight > 0) {
      if (this.#full && 2 * inFlight > this.maxBytes) return false;
      if (inFlight + bytes + OVERHEAD_BYTES > this.maxBytes) {
        this.#full = true;
        return false;
      }
    }
    this.#full = false;
    return true;
  }

  /**
   * Whether so much was sent that an answer is due; says so once for each of so many shares.
   *
   * @param shares How many, two at least: what is free by an answer must be enough to go on.
   */
  answerDue(shares = 4): boolean {
    const since = this.#sent - Math.max(this.#asked, this.#acknowledged);
    if (shares * since < this.maxBytes) return false;
    this.#asked = this.#sent;
    return true;
  }

  /** So many bytes of a sample were sent; `whole` with its last ones. */
  sent(sequence: number, bytes: number, whole: boolean): void {
    this.#sent += bytes + OVERHEAD_BYTES;
    if (!whole) return;
    this.#sequences.push(sequence);
    this.#totals.push(this.#sent);
  }

  /** Everything before a number has arrived. */
  acknowledge(before: number): void {
    let total = -1;
    while (this.#head < this.#sequences.length && this.#sequences[this.#head] < before) {
      total = this.#totals[this.#head++];
    }
    if (total < 0) return;
    this.#partly = Math.max(0, this.#acknowledged + this.#partly - total);
    this.#acknowledged = total;
    if (this.#head > 64) {
      this.#sequences.splice(0, this.#head);
      this.#totals.splice(0, this.#head);
      this.#head = 0;
    }
  }

  /**
   * So many bytes of the first sample that is not acknowledged have arrived.
   *
   * @returns Whether that is news.
   */
  acknowledgePart(bytes: number): boolean {
    const before = this.#partly;
    this.#partly = Math.min(Math.max(before, bytes), this.#sent - this.#acknowledged);
    return this.#partly > before;
  }

  /** Nothing is known, but time enough has passed for all of it to have arrived. */
  presumeArrived(): void {
    const total = this.#sent;
    this.acknowledge(Infinity);
    this.#partly = total - this.#acknowledged;
  }
}
