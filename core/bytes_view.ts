/**
 * A look at bytes that belong to somebody else and are lent for one callback: afterwards it throws.
 *
 * @module
 */

import { PatchbayError } from "./errors.ts";

/** Takes views back; whoever lends them has it, and nobody else. */
export interface Lender {
  /**
   * Lends bytes.
   *
   * @param bytes Where they lie.
   * @param start The first of them.
   * @param end Behind the last.
   * @param view The same bytes as `bytes`, where there is one already.
   */
  lend(bytes: Uint8Array, start: number, end: number, view?: DataView): BytesView;
  /** The view is over. */
  expire(view: BytesView): void;
  /** From now on the view has a copy of its own, until it is over. */
  keep(view: BytesView): void;
}

/** @ignore Set by the class: its privates are nobody else's. */
export let lender: Lender;

/**
 * The bytes of one shout, where they lie: in the memory that both processes share, where the wire
 * has such (trait `zeroCopy`). A listener gets them with the option `views`.
 *
 * It is valid until the callback that got it returns, or gives its promise; every later use throws
 * `closed`, so that it never shows the bytes of another message. The methods are those of
 * `DataView`; what is to be kept is copied. On shared memory a peer that breaks the rules could
 * change the bytes meanwhile: read once what a decision rests on.
 *
 * @example
 * ```ts
 * import { open } from "@patchbay/core";
 * import inProcess from "@patchbay/in_process";
 *
 * await using bay = await open({ module: "arm", plugins: [inProcess] });
 * const speaker = await bay.speaker<Uint8Array>("arm/image");
 * const frame = new Uint8Array(4);
 * await bay.listen("arm/image", (view) => {
 *   view.copyTo(frame);
 *   console.log(view.getUint16(0), view.length);
 * }, { views: true });
 * speaker.shout(new Uint8Array([1, 2, 3, 4]));
 * if (frame.join() !== "1,2,3,4") throw new Error("unexpected");
 * ```
 */
export class BytesView {
  /** How many bytes there are. */
  readonly length: number;
  #bytes: Uint8Array | undefined;
  #at: number;
  #view: DataView | undefined;

  private constructor(bytes: Uint8Array, start: number, end: number, view: DataView | undefined) {
    this.#bytes = bytes;
    this.#at = start;
    this.length = end - start;
    this.#view = view;
  }

  static {
    lender = {
      lend: (bytes, start, end, view) => new BytesView(bytes, start, end, view),
      expire: (view) => {
        view.#bytes = view.#view = undefined;
      },
      keep: (view) => {
        view.#bytes = view.copy();
        view.#at = 0;
        view.#view = undefined;
      },
    };
  }

  /** Whether it can still be read. */
  get valid(): boolean {
    return this.#bytes !== undefined;
  }

  /**
   * Copies bytes into an array that stays: the quickest way to keep them.
   *
   * @param target Where to; what does not fit is not copied.
   * @param targetStart Where in it. Default 0.
   * @param start The first byte to copy. Default 0.
   * @param end Behind the last. Default: all.
   * @returns How many were copied.
   * @throws {PatchbayError} `closed`: the view is over.
   */
  copyTo(target: Uint8Array, targetStart = 0, start = 0, end: number = this.length): number {
    const bytes = this.#bytes ?? this.#over();
    const room = target.length - targetStart;
    const last = Math.min(end, this.length, start + room);
    if (!(start >= 0 && last > start)) return 0;
    target.set(bytes.subarray(this.#at + start, this.#at + last), targetStart);
    return last - start;
  }

  /**
   * A copy with a buffer of its own.
   *
   * @param start The first byte. Default 0.
   * @param end Behind the last. Default: all.
   * @throws {PatchbayError} `closed`: the view is over.
   */
  copy(start = 0, end: number = this.length): Uint8Array<ArrayBuffer> {
    const bytes = this.#bytes ?? this.#over();
    const from = Math.max(0, Math.min(start, this.length));
    const to = Math.max(from, Math.min(end, this.length));
    return new Uint8Array(bytes.subarray(this.#at + from, this.#at + to));
  }

  /** As `DataView.getInt8`. */
  getInt8(offset: number): number {
    return this.#look(offset, 1).getInt8(this.#at + offset);
  }

  /** As `DataView.getUint8`. */
  getUint8(offset: number): number {
    return this.#look(offset, 1).getUint8(this.#at + offset);
  }

  /** As `DataView.getInt16`. */
  getInt16(offset: number, littleEndian?: boolean): number {
    return this.#look(offset, 2).getInt16(this.#at + offset, littleEndian);
  }

  /** As `DataView.getUint16`. */
  getUint16(offset: number, littleEndian?: boolean): number {
    return this.#look(offset, 2).getUint16(this.#at + offset, littleEndian);
  }

  /** As `DataView.getInt32`. */
  getInt32(offset: number, littleEndian?: boolean): number {
    return this.#look(offset, 4).getInt32(this.#at + offset, littleEndian);
  }

  /** As `DataView.getUint32`. */
  getUint32(offset: number, littleEndian?: boolean): number {
    return this.#look(offset, 4).getUint32(this.#at + offset, littleEndian);
  }

  /** As `DataView.getBigInt64`. */
  getBigInt64(offset: number, littleEndian?: boolean): bigint {
    return this.#look(offset, 8).getBigInt64(this.#at + offset, littleEndian);
  }

  /** As `DataView.getBigUint64`. */
  getBigUint64(offset: number, littleEndian?: boolean): bigint {
    return this.#look(offset, 8).getBigUint64(this.#at + offset, littleEndian);
  }

  /** As `DataView.getFloat32`. */
  getFloat32(offset: number, littleEndian?: boolean): number {
    return this.#look(offset, 4).getFloat32(this.#at + offset, littleEndian);
  }

  /** As `DataView.getFloat64`. */
  getFloat64(offset: number, littleEndian?: boolean): number {
    return this.#look(offset, 8).getFloat64(this.#at + offset, littleEndian);
  }

  /** The memory, if so many bytes of this message begin at an offset. */
  #look(offset: number, bytes: number): DataView {
    const { buffer, byteOffset, byteLength } = this.#bytes ?? this.#over();
    // The memory goes on behind the message: DataView's own check is not enough.
    if (!(Number.isInteger(offset) && offset >= 0 && offset + bytes <= this.length)) {
      throw new RangeError(`${bytes} bytes at ${offset} are not in a view of ${this.length}`);
    }
    return this.#view ??= new DataView(buffer, byteOffset, byteLength);
  }

  #over(): never {
    throw new PatchbayError("closed", "the view is over: it is valid during the callback only", {
      retryable: false,
      remedy: "keep what you need while it lasts: view.copyTo(array) or view.copy()",
    });
  }
}
