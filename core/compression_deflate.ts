/**
 * Raw DEFLATE (RFC 1951), with a limit that holds while inflating.
 *
 * Why this library and level: docs/decisions/0004-compression.md.
 *
 * @module
 */

import { deflateSync, Inflate } from "fflate";
import type { Compressor } from "./compression.ts";
import { PatchbayError } from "./errors.ts";

const LEVEL = 1;

/** No DEFLATE stream grows more: 258 bytes from 2 bits (RFC 1951 §3.2.5). */
const MAX_GROWTH = 1032;

/**
 * How much input is inflated at once: as much as cannot pass the limit by more than one slice's
 * worth, but not so little that the cost of a step (copying the 32 KiB window) dominates.
 */
const MIN_SLICE = 512;
const MAX_SLICE = 16 * 1024;

/**
 * Input that may pass without output: twice the largest stored block. More is not a stream (its
 * end was passed long ago, or it is made of empty blocks) and would cost quadratic copying.
 */
const MAX_BARREN = 128 * 1024;

/** Raw DEFLATE. A few bytes after the end of the stream go unnoticed; many are refused. */
export const deflate: Compressor = Object.freeze<Compressor>({
  name: "deflate",
  compress(bytes: Uint8Array): Uint8Array {
    return deflateSync(bytes, { level: LEVEL });
  },
  decompress(bytes: Uint8Array, maxBytes: number): Uint8Array {
    if (bytes.length === 0) throw damaged("it is empty");
    const chunks: Uint8Array[] = [];
    let size = 0;
    let barren = 0;
    const inflate = new Inflate((chunk) => {
      if (chunk.length === 0) return;
      chunks.push(chunk);
      size += chunk.length;
    });
    for (let at = 0; at < bytes.length;) {
      const fitting = Math.floor((maxBytes - size) / MAX_GROWTH);
      const end = at + Math.min(MAX_SLICE, Math.max(MIN_SLICE, fitting));
      const before = size;
      try {
        inflate.push(bytes.subarray(at, end), end >= bytes.length);
      } catch (cause) {
        throw damaged(cause instanceof Error ? cause.message : String(cause), cause);
      }
      if (size > maxBytes) {
        throw new PatchbayError(
          "too_large",
          `the message inflates to more than ${maxBytes} bytes`,
          {
            details: { size, max: maxBytes },
          },
        );
      }
      barren = size > before ? 0 : barren + end - at;
      if (barren > MAX_BARREN) throw damaged("it goes on without yielding anything");
      at = end;
    }
    return chunks.length === 1 ? chunks[0] : joined(chunks, size);
  },
});

function joined(chunks: readonly Uint8Array[], size: number): Uint8Array {
  const whole = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
}

function damaged(why: string, cause?: unknown): PatchbayError {
  return new PatchbayError("protocol", `the compressed message cannot be inflated: ${why}`, {
    ...(cause === undefined ? {} : { cause }),
  });
}
