/**
 * How a message is made smaller: the compressor contract, and how one is loaded by name.
 *
 * @module
 */

import { PatchbayError } from "./errors.ts";

/** The names of the built-in compressors. */
export type CompressorName = "deflate";

/** One way to make bytes smaller. Synchronous: a message is never reordered by its compression. */
export interface Compressor {
  /** The short name, as it is negotiated: `deflate`. */
  readonly name: string;
  /**
   * Compresses whole bytes. The result may be larger than `bytes` when they do not compress: send
   * the original then.
   *
   * @param bytes What to compress; it is not kept.
   */
  compress(bytes: Uint8Array): Uint8Array;
  /**
   * Restores what was compressed, and stops as soon as it would be larger than allowed. The
   * result never aliases `bytes`.
   *
   * @param bytes What `compress` returned, here or in another program.
   * @param maxBytes The largest result.
   * @throws {PatchbayError} `too_large` above `maxBytes`, with `details.max`; `protocol` when the
   * bytes are damaged or end too early.
   */
  decompress(bytes: Uint8Array, maxBytes: number): Uint8Array;
}

/**
 * Loads a compressor. A program that never calls this never loads the library.
 *
 * @param name Which one.
 * @throws {PatchbayError} `invalid` when there is none of that name.
 *
 * @example
 * ```ts
 * import { loadCompressor } from "@patchbay/core";
 *
 * const deflate = await loadCompressor("deflate");
 * const bytes = new Uint8Array(10_000);
 * const small = deflate.compress(bytes);
 * if (small.length > 100) throw new Error("unexpected");
 * if (deflate.decompress(small, 10_000).length !== 10_000) throw new Error("unexpected");
 * ```
 */
export async function loadCompressor(name: CompressorName): Promise<Compressor> {
  // A name may come from a configuration or a peer, whatever the type says.
  if (name !== "deflate") {
    throw new PatchbayError("invalid", `no compressor is called "${String(name)}"`, {
      details: { compressor: String(name), known: ["deflate"] },
      remedy: `use "deflate"`,
    });
  }
  return (await import("./compression_deflate.ts")).deflate;
}
