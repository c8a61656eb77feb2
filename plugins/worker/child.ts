/**
 * The worker's side: finds the parent, and dials it.
 *
 * @module
 */

import { type HubDriver, type Link, PatchbayError } from "@patchbay/core";
import { type Greeting, heard, type Port, say } from "./greeting.ts";
import { holdLife } from "./life.ts";
import { abilitiesOf, type LinkWishes, makeLink, nextMessage, type Rings } from "./make_link.ts";

/** The port to the parent of the worker that this runs in, if it runs in one. */
export function parentPort(): Port | undefined {
  return "DedicatedWorkerGlobalScope" in globalThis ? globalThis as unknown as Port : undefined;
}

/**
 * How a worker dials its parent.
 *
 * @param port The way to the parent.
 * @param wishes What the worker wants of links.
 * @param onParent Called when the parent says that it has adopted this worker.
 */
export function child(
  port: Port,
  wishes: LinkWishes,
  onParent: () => void,
): { readonly driver: HubDriver; readonly close: () => void } {
  /** A parent that never answered is not waited for again and again: it knocks when it is there. */
  let silent = false;
  let knocked: (() => void) | undefined;
  const onMessage = (event: unknown) => {
    if (heard((event as MessageEvent).data)?.say !== "adopted") return;
    silent = false;
    knocked?.();
    onParent();
  };
  port.addEventListener("message", onMessage);
  port.start?.();

  async function attempt(signal: AbortSignal): Promise<Link> {
    const { port1, port2 } = new MessageChannel();
    const life = await holdLife();
    try {
      const abilities = abilitiesOf(wishes, life);
      say(port, { say: "dial", abilities }, [port2]);
      const answer = await accepted(port1, signal);
      const rings = answer.rings !== undefined && abilities.shares
        ? { memory: answer.rings, capacity: answer.capacity ?? 0 } satisfies Rings
        : undefined;
      const link = makeLink(port1, false, rings, answer.abilities, life, wishes);
      say(port1, { say: "ready", shared: rings !== undefined });
      return link;
    } catch (error) {
      say(port1, { say: "bye" });
      port1.close();
      life?.stop();
      throw error;
    }
  }

  async function dial(signal: AbortSignal): Promise<Link> {
    if (silent) throw nobody();
    for (;;) {
      const again = new AbortController();
      knocked = () => again.abort(again);
      const late = setTimeout(() => again.abort(nobody()), wishes.connectTimeoutMs);
      try {
        return await attempt(AbortSignal.any([signal, again.signal]));
      } catch (error) {
        if (error === again) continue;
        signal.throwIfAborted();
        silent = again.signal.aborted;
        throw error;
      } finally {
        clearTimeout(late);
        knocked = undefined;
      }
    }
  }

  return {
    driver: { role: "client", where: "the parent", dial },
    close: () => port.removeEventListener("message", onMessage),
  };
}

type Accept = Greeting & { readonly say: "accept" };

/** What the parent answers. */
function accepted(port: MessagePort, signal: AbortSignal): Promise<Accept> {
  return nextMessage(port, signal, (data) => {
    const greeting = heard(data);
    if (greeting?.say === "accept") return greeting;
    throw new PatchbayError("protocol", "the parent answers in another way than expected");
  });
}

function nobody(): PatchbayError {
  return new PatchbayError("unavailable", "the parent of this worker does not answer", {
    remedy:
      "call bay.transport(worker).adopt(it) in the parent, or spawn(url) instead of `new Worker`",
  });
}
