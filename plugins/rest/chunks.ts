/**
 * Reads the body of a message that `fetch` has answered with, for no longer than its signal allows.
 *
 * Deno's `fetch` forgets the signal once the answer has begun: it follows it by a dependent signal
 * that nothing holds, and that is collected as garbage. A body that is read afterwards then never
 * ends, and neither does its request on a connection of HTTP/2, which many share.
 *
 * @module
 */

/**
 * Reads a body until it ends, is left, or its signal is aborted, which also ends the request. It has
 * its reader at once: what is never read has to be aborted.
 *
 * @param body The body; `null` for none.
 * @param signal Gives up; without one nobody does.
 * @throws The signal's reason; what reading throws.
 */
export function chunksOf(
  body: ReadableStream<Uint8Array> | null,
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array, void, void> {
  const reader = body?.getReader();
  // What `fetch` has aborted by itself refuses to be cancelled.
  const cancel = () => reader?.cancel(signal?.reason).catch(() => {});
  if (signal?.aborted) void cancel();
  else signal?.addEventListener("abort", cancel, { once: true });
  return (async function* () {
    let ended = reader === undefined;
    try {
      while (reader !== undefined) {
        const { value, done } = await reader.read();
        // Whoever reads what was cancelled is told that the body has ended.
        signal?.throwIfAborted();
        ended = done;
        if (done) return;
        yield value;
      }
    } finally {
      signal?.removeEventListener("abort", cancel);
      if (!ended) await cancel();
    }
  })();
}
