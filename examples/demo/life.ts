/**
 * How long a process of the demo lives: until its conductor closes its stdin, or is gone.
 *
 * @module
 */

/** Resolves when nobody holds the other end of stdin any longer. */
export async function conductorHasGone(): Promise<void> {
  for await (const _ of Deno.stdin.readable) {
    // Nothing is ever said there.
  }
}
