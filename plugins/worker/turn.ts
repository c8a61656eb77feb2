/**
 * Lets the event loop turn once: what has come meanwhile (timers, messages) is done before.
 *
 * @module
 */

type Immediate = (callback: () => void) => unknown;

/** As `setTimeout(…, 0)`, which pages make wait for 4 ms when it is used again and again. */
export type Turn = () => Promise<void>;

/**
 * How to let the event loop turn here.
 *
 * @returns The function, and how to free what it uses.
 */
export function openTurn(): { readonly turn: Turn; readonly close: () => void } {
  // Server runtimes have it, pages do not.
  const immediate = Reflect.get(globalThis, "setImmediate") as Immediate | undefined;
  if (immediate !== undefined) {
    return {
      turn: () => new Promise((resolve) => void immediate(resolve)),
      close: () => {},
    };
  }
  const { port1, port2 } = new MessageChannel();
  let waiting: (() => void)[] = [];
  port1.onmessage = () => {
    const ready = waiting;
    waiting = [];
    for (const resolve of ready) resolve();
  };
  return {
    turn: () =>
      new Promise((resolve) => {
        if (waiting.push(resolve) === 1) port2.postMessage(0);
      }),
    close: () => {
      port1.close();
      for (const resolve of waiting) resolve();
    },
  };
}
