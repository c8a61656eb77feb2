/**
 * The frames of a WebSocket (RFC 6455 section 5): heads, masks, and what is wrong with one.
 *
 * @module
 */

/** Operations of frames (section 5.2). */
export const Op = {
  continuation: 0,
  text: 1,
  binary: 2,
  close: 8,
  ping: 9,
  pong: 10,
} as const;

/** Room for the head of a frame: 2 bytes, 8 of length, 4 of mask. A multiple of four. */
export const HEAD_BYTES = 16;
/** The largest payload of a control frame, in bytes (section 5.5). */
export const MAX_CONTROL_BYTES = 125;

/** A frame that is being made: its payload begins at {@link HEAD_BYTES}. */
export class Chunk {
  /** The bytes. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** The same bytes. */
  readonly view: DataView;
  /** The same bytes. */
  readonly words: Uint32Array;
  /** The operation. */
  readonly op: number;
  /** Behind the last byte of the payload. */
  used: number = HEAD_BYTES;

  /**
   * @param op The operation.
   * @param bytes How much room, head included; a multiple of four.
   */
  constructor(op: number, bytes: number) {
    this.op = op;
    this.bytes = new Uint8Array(bytes);
    this.view = new DataView(this.bytes.buffer);
    this.words = new Uint32Array(this.bytes.buffer);
  }
}

/**
 * Makes a frame of what a chunk holds.
 *
 * @param chunk The chunk; its payload is changed where it is masked.
 * @param masks Whether to mask it, as a client must (section 5.3).
 * @returns Where it begins.
 */
export function seal(chunk: Chunk, masks: boolean): number {
  const { view, words, bytes, used, op } = chunk;
  const length = used - HEAD_BYTES;
  const size = length < 126 ? 0 : length < 65_536 ? 2 : 8;
  const lengthAt = HEAD_BYTES - (masks ? 4 : 0) - size;
  if (masks) {
    crypto.getRandomValues(bytes.subarray(HEAD_BYTES - 4, HEAD_BYTES));
    const mask = words[HEAD_BYTES / 4 - 1];
    const end = Math.ceil(used / 4);
    // The head is a multiple of four bytes, so the mask falls on whole words.
    for (let at = HEAD_BYTES / 4; at < end; at++) words[at] ^= mask;
  }
  bytes[lengthAt - 2] = 0x80 | op;
  bytes[lengthAt - 1] = (masks ? 0x80 : 0) | (size === 0 ? length : size === 2 ? 126 : 127);
  if (size === 2) view.setUint16(lengthAt, length);
  else if (size === 8) view.setBigUint64(lengthAt, BigInt(length));
  return lengthAt - 2;
}

/**
 * Takes a mask off, in place.
 *
 * @param bytes Where the payload lies: a view that begins with its buffer.
 * @param words The same bytes.
 * @param maskAt Where the mask lies in it.
 * @param begin The payload's first byte.
 * @param end Behind its last byte.
 */
export function unmask(
  bytes: Uint8Array,
  words: Uint32Array,
  maskAt: number,
  begin: number,
  end: number,
): void {
  const mask = bytes.slice(maskAt, maskAt + 4);
  let at = begin;
  for (; at < end && (at & 3) !== 0; at++) bytes[at] ^= mask[(at - begin) & 3];
  const turn = at - begin;
  const word = mask[turn & 3] | mask[(turn + 1) & 3] << 8 | mask[(turn + 2) & 3] << 16 |
    mask[(turn + 3) & 3] << 24;
  const last = end >> 2;
  for (let i = at >> 2; i < last; i++) words[i] ^= word;
  for (at = Math.max(at, last << 2); at < end; at++) bytes[at] ^= mask[(at - begin) & 3];
}

/**
 * What is wrong with the head of a frame (section 5.2); `undefined` if nothing is.
 *
 * @param first Its first byte.
 * @param second Its second byte.
 * @param length The length of its payload.
 * @param reader What the reader takes.
 */
export function complaint(
  first: number,
  second: number,
  length: number,
  reader: { readonly op: number; readonly masked: boolean; readonly maxBytes: number },
): { readonly code: "protocol" | "too_large"; readonly message: string } | undefined {
  const op = first & 0x0f;
  const protocol = (message: string) => ({ code: "protocol", message } as const);
  if ((first & 0x70) !== 0) {
    return protocol("the peer sent a frame with an extension that was not agreed on");
  }
  if (((second & 0x80) !== 0) !== reader.masked) {
    return protocol(
      reader.masked ? "the client did not mask a frame" : "the server masked a frame",
    );
  }
  if (op === Op.text && reader.op !== op) return protocol("the peer sent a text message");
  if (op === Op.binary && reader.op !== op) return protocol("the peer sent a binary message");
  if (op > Op.pong || (op > Op.binary && op < Op.close)) {
    return protocol(`the peer sent a frame of operation ${op}`);
  }
  if (op >= Op.close && (length > MAX_CONTROL_BYTES || (first & 0x80) === 0)) {
    return protocol("the peer sent a control frame that is too large");
  }
  if (length <= reader.maxBytes) return undefined;
  const message = `the peer sent a message of ${length} bytes, the limit is ${reader.maxBytes}`;
  return { code: "too_large", message };
}
