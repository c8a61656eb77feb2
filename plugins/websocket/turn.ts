/**
 * The next turn of the event loop: sooner than a timer, which comes after a millisecond or more.
 * Runs in a page and in Deno.
 *
 * @module
 */

type Immediate = (callback: () => void) => unknown;

/** How a turn is waited for. */
export type Turns = (callback: () => void) => void;

/** Waits for turns with what there is: Deno and Node have `setImmediate`, a page has channels. */
export function turns(): Turns {
  const { setImmediate } = globalThis as { setImmediate?: Immediate };
  if (setImmediate !== undefined) return setImmediate;
  const { port1, port2 } = new MessageChannel();
  const waiting: (() => void)[] = [];
  port1.onmessage = () => waiting.shift()?.();
  return (callback) => {
    waiting.push(callback);
    port2.postMessage(undefined);
  };
}
