/**
 * A worker for the tests: serves what they call, and does what its name says on the way.
 *
 * @module
 */

import { open, PatchbayError } from "@patchbay/core";
import worker from "../mod.ts";

interface Wishes {
  /** Take away what this platform may lack. */
  readonly without?: readonly ("waitAsync" | "locks")[];
  /** How often to say that it lives, in milliseconds. */
  readonly heartbeatMs?: number;
  /** Open the bay only when told to. */
  readonly waits?: boolean;
}

const wishes = JSON.parse(self.name || "{}") as Wishes;
if (wishes.without?.includes("waitAsync")) Object.assign(Atomics, { waitAsync: undefined });
if (wishes.without?.includes("locks")) {
  Object.defineProperty(navigator, "locks", { value: undefined });
}

const scope = self as unknown as Worker;
const heard: unknown[] = [];

async function begin(): Promise<void> {
  const bay = await open({
    module: "far",
    plugins: [worker],
    config: { worker: { heartbeatMs: wishes.heartbeatMs ?? 0 } },
  });
  await bay.serve("far/echo", (value) => value);
  await bay.serve("far/hang", () => new Promise(() => {}));
  await bay.serve("far/refuse", () => {
    throw new PatchbayError("overloaded", "the far side has enough", { details: { left: 3 } });
  });
  await bay.serve("far/throw", () => {
    throw new TypeError("not a number");
  });
  await bay.serve("far/blow_up", () => {
    setTimeout(() => {
      throw new RangeError("nobody catches this");
    }, 0);
    return new Promise(() => {});
  });
  await bay.serve("far/leave", () => {
    self.close();
    return new Promise(() => {});
  });
  await bay.serve("far/heard", () => heard.length);
  await bay.perform("far/count", async (to: number, { feedback, signal }) => {
    for (let n = 1; n <= to; n++) {
      signal.throwIfAborted();
      feedback(n);
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
    return to;
  });
  const speaker = await bay.speaker<string>("far/said", { retain: true });
  await speaker.shout("here");
}

// A port of its own use, beside Patchbay's.
self.addEventListener("message", (event) => {
  const { data } = event as Event as MessageEvent<unknown>;
  if (typeof data === "object" && data !== null && "patchbay" in data) return;
  heard.push(data);
  if (data === "begin") void begin();
  if (data === "ping") scope.postMessage("pong");
});

if (wishes.waits === true) scope.postMessage("waiting");
else await begin();
