/**
 * Where frames are gathered until they are written: one large chunk that many links share.
 *
 * @module
 */

import { Chunk, HEAD_BYTES, Op } from "./wire_frames.ts";

/** Frames are gathered into messages of up to this size. */
const CHUNK_BYTES = 128 * 1024;
/** What is smaller is copied out, so that the large chunk stays where it is. */
const COPIED_BYTES = 8 * 1024;
/** So many large chunks are kept for the next time. */
const MAX_SPARE = 8;

/** Whose frames are in the chunk. */
export interface PoolOwner {
  /** Another link wants it: what is there must go. */
  yieldChunk(): void;
}

/** A large chunk that links take in turns. */
export class ChunkPool {
  /** Where frames are gathered now. */
  chunk: Chunk = new Chunk(Op.binary, CHUNK_BYTES);
  /** Whose they are. */
  owner: PoolOwner | undefined = undefined;
  /** Counts claims: one that another has interrupted is found out. */
  claims = 0;
  readonly #spare: Chunk[] = [];

  /**
   * Whether there is room for so many bytes more.
   *
   * @param bytes How many.
   */
  hasRoom(bytes: number): boolean {
    return this.chunk.used + bytes <= CHUNK_BYTES;
  }

  /** What was gathered, as a chunk to be written; `undefined` if nothing was. */
  take(): Chunk | undefined {
    const { chunk } = this;
    const { used } = chunk;
    if (used === HEAD_BYTES) return undefined;
    if (used > COPIED_BYTES) {
      this.chunk = this.#spare.pop() ?? new Chunk(Op.binary, CHUNK_BYTES);
      return chunk;
    }
    const copy = new Chunk(Op.binary, (used + 3) & ~3);
    copy.bytes.set(chunk.bytes.subarray(HEAD_BYTES, used), HEAD_BYTES);
    copy.used = used;
    chunk.used = HEAD_BYTES;
    return copy;
  }

  /**
   * A chunk has been written.
   *
   * @param chunk What {@link take} gave.
   */
  release(chunk: Chunk): void {
    if (chunk.bytes.length !== CHUNK_BYTES || this.#spare.length >= MAX_SPARE) return;
    chunk.used = HEAD_BYTES;
    this.#spare.push(chunk);
  }
}
