/**
 * When a message with QoS 1 is acknowledged: when those who hear it are done with it, in the order in
 * which the messages came.
 *
 * MQTT.js acknowledges before it reads on, so that a slow listener would hold up everything behind
 * it, the broker's own signs of life included. Here reading goes on, and acknowledgements wait.
 *
 * @module
 */

/** What is still to be done before one message is acknowledged. */
export class Receipt {
  /** The packet's number. */
  readonly id: number;
  readonly #acks: Acks;
  #left = 0;

  /** @ignore Made by {@link Acks}. */
  constructor(acks: Acks, id: number) {
    this.#acks = acks;
    this.id = id;
  }

  /** Whether it may be acknowledged. */
  get settled(): boolean {
    return this.#left === 0;
  }

  /** Somebody more has to be done with it. */
  hold(): void {
    this.#left++;
  }

  /** One of them is. */
  settle(): void {
    this.#left--;
    if (this.#left === 0) this.#acks.flush();
  }
}

/** The acknowledgements of one connection. */
export class Acks {
  /** The message that is being delivered. */
  current: Receipt | undefined = undefined;
  readonly #send: (id: number) => void;
  /** Messages that came and are not acknowledged. */
  readonly #open = new Map<number, Receipt>();
  /** Those whose turn it would be, in the order in which they came. */
  #waiting: Receipt[] = [];

  /** @param send Sends an acknowledgement. */
  constructor(send: (id: number) => void) {
    this.#send = send;
  }

  /** How many messages came and are not acknowledged. */
  get open(): number {
    return this.#open.size;
  }

  /**
   * A message has come.
   *
   * @param id The packet's number.
   * @returns Whether it is new: not one that this bay has and has not acknowledged yet.
   */
  arrived(id: number): boolean {
    if (this.#open.has(id)) return false;
    const receipt = new Receipt(this, id);
    this.#open.set(id, receipt);
    this.current = receipt;
    return true;
  }

  /**
   * MQTT.js would acknowledge it now.
   *
   * @param id The packet's number.
   * @returns Whether it may; else it is sent later.
   */
  due(id: number): boolean {
    this.current = undefined;
    const receipt = this.#open.get(id);
    if (receipt === undefined) return true;
    if (receipt.settled && this.#waiting.length === 0) {
      this.#open.delete(id);
      return true;
    }
    this.#waiting.push(receipt);
    return false;
  }

  /** Sends what can be sent. */
  flush(): void {
    let sent = 0;
    while (sent < this.#waiting.length && this.#waiting[sent].settled) {
      const { id } = this.#waiting[sent++];
      this.#open.delete(id);
      this.#send(id);
    }
    if (sent > 0) this.#waiting = this.#waiting.slice(sent);
  }

  /** The connection was lost: what was not acknowledged comes again, if the session goes on. */
  lost(): void {
    this.#waiting = [];
    this.current = undefined;
  }

  /** The broker has forgotten the session: nothing comes again. */
  forget(): void {
    this.lost();
    this.#open.clear();
  }
}
