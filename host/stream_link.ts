/**
 * A link over a stream connection: each frame behind its length, a 32-bit little-endian number.
 * Writes of one turn are joined into one system call.
 *
 * @module
 */

import { type Link, type LinkHandler, MAX_FRAME_BYTES, PatchbayError } from "@patchbay/core";
import { ReadTurns } from "./read_turns.ts";

/** The size of the length before each frame, in bytes. */
export const LENGTH_BYTES = 4;
/** Output is gathered in pieces of this size. */
const CHUNK_BYTES = 128 * 1024;
/** Input is read in pieces of up to this size. */
const READ_BYTES = 256 * 1024;
/** How long {@link StreamLink.close} waits for what was committed, in milliseconds. */
const FLUSH_MS = 1000;

class Chunk {
  readonly bytes = new Uint8Array(CHUNK_BYTES);
  readonly view = new DataView(this.bytes.buffer);
  used = 0;
}

/**
 * A link over a stream connection: Unix socket, TCP, TLS.
 *
 * @example
 * ```ts
 * import { StreamLink } from "@patchbay/host";
 *
 * const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
 * const { port } = listener.addr as Deno.NetAddr;
 * const [accepted, dialled] = await Promise.all([
 *   listener.accept(),
 *   Deno.connect({ hostname: "127.0.0.1", port }),
 * ]);
 * const link = new StreamLink(dialled);
 * console.log(link.local, link.detectsClose);
 * await link.close();
 * accepted.close();
 * listener.close();
 * ```
 */
export class StreamLink implements Link {
  /** Whether the peer is on this host. */
  readonly local: boolean;
  /** The kernel closes the connection with the process. */
  readonly detectsClose = true;
  /** As {@link Link.maxFrameBytes}. */
  readonly maxFrameBytes: number = MAX_FRAME_BYTES;
  readonly #conn: Deno.Conn;
  readonly #full: Chunk[] = [];
  #chunk = new Chunk();
  #spare: Chunk | undefined;
  #claimedAt = 0;
  #buffered = 0;
  #flushing = false;
  #writing: Promise<void> | undefined;
  #handler: LinkHandler | undefined;
  #closed = false;
  #closing: Promise<void> | undefined;

  /**
   * Takes over a connection.
   *
   * @param conn The connection; the link owns it.
   */
  constructor(conn: Deno.Conn) {
    this.#conn = conn;
    this.local = conn.remoteAddr.transport === "unix" || isLoopback(conn.remoteAddr);
  }

  /** As {@link Link.buffer}. */
  get buffer(): Uint8Array {
    return this.#chunk.bytes;
  }

  /** As {@link Link.view}. */
  get view(): DataView {
    return this.#chunk.view;
  }

  /** As {@link Link.buffered}. */
  get buffered(): number {
    return this.#buffered;
  }

  /** As {@link Link.start}. */
  start(handler: LinkHandler): void {
    this.#handler = handler;
    void this.#read(handler);
  }

  /** As {@link Link.claim}. */
  claim(bytes: number): number {
    if (this.#chunk.used + LENGTH_BYTES + bytes > CHUNK_BYTES) {
      this.#full.push(this.#chunk);
      this.#chunk = this.#spare ?? new Chunk();
      this.#spare = undefined;
    }
    return this.#claimedAt = this.#chunk.used + LENGTH_BYTES;
  }

  /** As {@link Link.commit}. */
  commit(bytes: number): void {
    const chunk = this.#chunk;
    chunk.view.setUint32(this.#claimedAt - LENGTH_BYTES, bytes, true);
    chunk.used = this.#claimedAt + bytes;
    this.#buffered += LENGTH_BYTES + bytes;
    if (this.#flushing || this.#writing !== undefined) return;
    this.#flushing = true;
    queueMicrotask(this.#flush);
  }

  /** As {@link Link.flush}. */
  flush(): void {
    if (!this.#closed && this.#buffered > 0) this.#writing ??= this.#write();
  }

  /** As {@link Link.close}. */
  close(abrupt = false): Promise<void> {
    if (abrupt) this.#shut(undefined);
    return this.#closing ??= (async () => {
      let timer: ReturnType<typeof setTimeout> | undefined;
      if (!this.#closed && this.#buffered > 0) {
        this.#writing ??= this.#write();
        const late = new Promise<void>((resolve) => timer = setTimeout(resolve, FLUSH_MS));
        await Promise.race([this.#writing, late]);
        clearTimeout(timer);
      }
      this.#shut(undefined);
    })();
  }

  readonly #flush = (): void => {
    this.#flushing = false;
    if (this.#closed) return;
    this.#writing ??= this.#write();
  };

  async #write(): Promise<void> {
    try {
      while (this.#buffered > 0 && !this.#closed) {
        const chunk = this.#full.shift() ?? this.#takeChunk();
        for (let at = 0; at < chunk.used;) {
          const written = await this.#conn.write(chunk.bytes.subarray(at, chunk.used));
          at += written;
          this.#buffered -= written;
          if (!this.#closed) this.#handler?.drained();
        }
        chunk.used = 0;
        this.#spare ??= chunk;
      }
    } catch (error) {
      this.#shut(lost(error));
    }
    this.#writing = undefined;
  }

  #takeChunk(): Chunk {
    const chunk = this.#chunk;
    this.#chunk = this.#spare ?? new Chunk();
    this.#spare = undefined;
    return chunk;
  }

  async #read(handler: LinkHandler): Promise<void> {
    const buffer = new Uint8Array(READ_BYTES);
    const view = new DataView(buffer.buffer);
    const turns = new ReadTurns();
    let start = 0;
    let end = 0;
    try {
      for (;;) {
        const others = turns.ofOthers();
        if (others !== undefined) await others;
        const read = await this.#conn.read(buffer.subarray(end));
        turns.came(read ?? 0);
        if (read === null || this.#closed) break;
        end += read;
        while (end - start >= LENGTH_BYTES) {
          const length = view.getUint32(start, true);
          if (length > this.maxFrameBytes) {
            handler.malformed(
              new PatchbayError(
                "protocol",
                `the peer announced a frame of ${length} bytes, the limit is ${this.maxFrameBytes}`,
                { details: { size: length, max: this.maxFrameBytes } },
              ),
            );
            return;
          }
          const next = start + LENGTH_BYTES + length;
          if (next > end) break;
          handler.frame(buffer, start + LENGTH_BYTES, next);
          if (this.#closed) return;
          start = next;
        }
        handler.batchEnd();
        if (start === end) start = end = 0;
        else if (buffer.length - end < READ_BYTES / 4) {
          buffer.copyWithin(0, start, end);
          end -= start;
          start = 0;
        }
      }
      this.#shut(undefined);
    } catch (error) {
      this.#shut(lost(error));
    }
  }

  #shut(error: PatchbayError | undefined): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#buffered = 0;
    try {
      this.#conn.close();
    } catch {
      // The peer was faster.
    }
    this.#handler?.closed(error);
  }
}

function isLoopback(address: Deno.Addr): boolean {
  return "hostname" in address &&
    (address.hostname === "::1" || address.hostname.startsWith("127."));
}

function lost(error: unknown): PatchbayError | undefined {
  // Closing while a read is pending is how an orderly end looks to Deno.
  if (error instanceof Deno.errors.BadResource || error instanceof Deno.errors.Interrupted) {
    return undefined;
  }
  const message = error instanceof Error ? error.message : String(error);
  return new PatchbayError("closed", `the connection broke: ${message}`, { cause: error });
}
