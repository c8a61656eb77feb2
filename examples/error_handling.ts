/**
 * Errors: the codes one is likely to meet, how each comes about, and what to do about it.
 *
 * ```sh
 * deno run --allow-env=PATCHBAY_CONFIG,XDG_RUNTIME_DIR \
 *   --allow-read=$XDG_RUNTIME_DIR/patchbay --allow-write=$XDG_RUNTIME_DIR/patchbay \
 *   --allow-net=unix:$XDG_RUNTIME_DIR/patchbay/oven.sock,unix:$XDG_RUNTIME_DIR/patchbay/kitchen.sock \
 *   examples/error_handling.ts
 * ```
 *
 * Two bays stand for two processes here, which meet over uds. It prints:
 *
 * ```text
 * not_found          oven/open: no wire leads there (…)
 *   to do: start the module that serves it, or see patchbay explain
 * invalid            request.celsius: …
 *   to do: correct the value at request.celsius
 * remote             the oven is on fire
 *   to do: RangeError was thrown by the handler: read its message
 * deadline_exceeded  oven/slow: no response within 50 ms over uds
 *   to do: pass a longer timeoutMs, or make the handler faster
 * overloaded         oven/slow: 1 call is already running
 *   to do: try again later: call less at once, or serve with a higher maxConcurrent
 * too_large          the message has … bytes, the limit over uds is 4096
 *   to do: send less than 4096 bytes
 * forbidden          kitchen may not call oven/secret
 *   to do: ask who runs the oven for the right to call oven/secret
 * unavailable        oven/heat is already served by oven (pid …)
 *   to do: stop oven (pid …), or serve both with sharing: "shared"
 * the call was aborted: no code, but the signal's own reason: I am no longer hungry
 * closed             kitchen has closed
 *   to do: call again when it is back
 * ```
 *
 * @module
 */
import { defineCallable, Patchbay, PatchbayError } from "@patchbay/patchbay";
import { z } from "zod";

const Heat = defineCallable({
  address: "oven/heat",
  request: z.object({ celsius: z.number().max(300) }),
});
const Slow = defineCallable<null, string>({ address: "oven/slow" });
const Secret = defineCallable<null, string>({ address: "oven/secret" });

await using kitchen = await Patchbay.open({ module: "kitchen" });
await using oven = await Patchbay.open({
  module: "oven",
  maxMessageBytes: 4096,
  authorize: (_peer, _verb, address) => address !== Secret.address,
});
await oven.serve(Heat, ({ celsius }) => {
  if (celsius > 250) throw new RangeError("the oven is on fire");
});
await oven.serve(Secret, () => "the recipe");
let reached = Promise.withResolvers<void>();
await oven.serve(Slow, (_request, { signal }) =>
  new Promise<string>((resolve) => {
    reached.resolve();
    signal.addEventListener("abort", () => resolve("nobody listens any more"), { once: true });
  }), { maxConcurrent: 1 });

/** What a program can do about an error: it decides by the code. */
function toDo(error: PatchbayError): string {
  switch (error.code) {
    case "invalid": // My value, or theirs: the path leads to what is wrong in it.
      return error.details?.path === undefined
        ? error.remedy ?? "read the message"
        : `correct the value at ${error.details.path}`;
    case "remote": // Their handler threw: the request came through, so do not just send it again.
      return `${error.details?.name} was thrown by the handler: read its message`;
    case "too_large":
      return `send less than ${error.details?.max} bytes`;
    case "unauthenticated":
    case "forbidden":
      return `ask who runs the oven for the right to call ${error.address}`;
    case "overloaded": // They work, but are busy. `retryable` is true: after a pause.
      return `try again later: ${error.remedy}`;
    case "closed": // The other side went away in the meantime. `retryable` is true.
      return "call again when it is back";
    case "not_found": // Nobody is there, said at once.
    case "unavailable": // It cannot work here and now: the remedy says what is missing.
    case "deadline_exceeded": // Whether it was done is not known: only idempotent calls are retried.
      return error.remedy ?? "nothing";
    default: // "protocol", "internal": a bug, theirs or ours.
      return "report it";
  }
}

async function show(work: Promise<unknown> | (() => Promise<unknown>)): Promise<void> {
  try {
    await (typeof work === "function" ? work() : work);
  } catch (error) {
    if (!(error instanceof PatchbayError)) throw error;
    console.log(`${error.code.padEnd(17)}  ${error.message}`);
    console.log(`  to do: ${toDo(error)}`);
  }
}

await show(kitchen.call("oven/open", null));
await show(kitchen.call(Heat, { celsius: 1000 }));
await show(kitchen.call(Heat, { celsius: 300 }));
await show(kitchen.call(Slow, null, { timeoutMs: 50 }));
{
  const enough = new AbortController();
  reached = Promise.withResolvers();
  const first = kitchen.call(Slow, null, { signal: enough.signal }).catch(() => {});
  await reached.promise;
  await show(kitchen.call(Slow, null));
  enough.abort();
  await first;
}
await show(kitchen.call("oven/heat", { celsius: 100, note: "x".repeat(10_000) }));
await show(kitchen.call(Secret, null));
await show(async () => await kitchen.serve(Heat, () => {}));
// An abort is your own doing: it rejects with the reason that you gave.
const hungry = new AbortController();
hungry.abort(new Error("I am no longer hungry"));
await kitchen.call(Heat, { celsius: 200 }, { signal: hungry.signal }).catch((error: Error) => {
  console.log(`the call was aborted: no code, but the signal's own reason: ${error.message}`);
});

// What is pending when a bay closes, this one or the other, or when the other process dies.
reached = Promise.withResolvers();
const seen = show(kitchen.call(Slow, null));
await reached.promise;
await kitchen.close();
await seen;
