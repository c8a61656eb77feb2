/**
 * A value on its way through a bay that relays it: the encoded bytes as they came, never decoded.
 *
 * @module
 */

/** The bay that a relayed message comes from, as the relaying bay knows it. */
export interface Origin {
  /** The bay's id. */
  readonly id: string;
  /** The module's name, as it says. */
  readonly module: string;
  /** Who it has proved to be, at the relaying bay. */
  readonly identity?: string;
}

/** A value that is passed on as it came. */
export class Passing {
  /** The name of the codec of the bytes. */
  readonly codec: string;
  /** The encoded value, not compressed; a copy of its own, unless it is only lent. */
  readonly body: Uint8Array;
  /** Hops left, this one taken off: at 0 it goes no further. */
  readonly ttl: number;
  /** 0–255. */
  readonly priority: number;
  /** Remaining ms or sequence, by kind. */
  readonly number: number;
  /** Whose it is; `undefined` for what answers. */
  readonly origin: Origin | undefined;

  /**
   * @param codec The name of the codec.
   * @param body The encoded value.
   * @param frame What it came with.
   * @param origin Whose it is.
   */
  constructor(
    codec: string,
    body: Uint8Array,
    frame: { readonly ttl: number; readonly priority: number; readonly number: number },
    origin?: Origin,
  ) {
    this.codec = codec;
    this.body = body;
    this.ttl = Math.max(0, frame.ttl - 1);
    this.priority = frame.priority;
    this.number = frame.number;
    this.origin = origin;
  }

  /** The same with a copy of its own: for who goes on with it after the frame that it came in. */
  kept(): Passing {
    const { codec, ttl, priority, number, origin } = this;
    return new Passing(codec, this.body.slice(), { ttl: ttl + 1, priority, number }, origin);
  }
}
