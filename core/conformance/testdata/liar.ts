/**
 * Makes transports that are in_process but for one broken promise.
 *
 * @module
 */

import assert from "node:assert/strict";
import inProcess, { Room } from "@patchbay/in_process";
import type { OutboundCall } from "../../callable.ts";
import type { OutboundJob } from "../../job.ts";
import type { EventContext } from "../../listener.ts";
import type { Plugin, Transport } from "../../plugin.ts";
import type { Fixture } from "../mod.ts";

/** Changes the methods of a transport; the rest stays as it is. */
export type Lie = (transport: Transport) => Partial<Transport>;

/**
 * A fixture of in_process with one broken promise.
 *
 * @param lie What is different.
 */
export function liar(lie: Lie): Fixture {
  const plugin: Plugin = {
    ...(inProcess as Plugin),
    open: async (context, config) => {
      const honest = await inProcess.open(context, config as never);
      const changed = lie(honest);
      return new Proxy(honest, {
        get(target, key) {
          const method = changed[key as keyof Transport] ?? target[key as keyof Transport];
          return typeof method === "function" ? method.bind(target) : method;
        },
      });
    },
  };
  return {
    plugin,
    url: import.meta.url,
    layouts: ["alone", "same_process"],
    largestPayloadBytes: 1024,
    refusesUnportable: false,
    meeting: () => {
      const room = new Room();
      return Promise.resolve({
        options: (module) => ({ module, plugins: [plugin], config: { in_process: { room } } }),
        [Symbol.asyncDispose]: () => Promise.resolve(),
      });
    },
  };
}

/** Shouts differently: `deliver` sends one on. */
export function shouting(
  how: (
    value: unknown,
    event: EventContext,
    deliver: (value: unknown, event: EventContext) => void | Promise<void>,
  ) => void | Promise<void>,
): Lie {
  return (transport) => ({
    speak: async (endpoint) => {
      const port = await transport.speak?.(endpoint);
      assert.ok(port);
      return {
        shout: (value, event) => how(value, event, (v, e) => port.shout(v, e)),
        get listeners() {
          return port.listeners;
        },
        close: () => port.close(),
      };
    },
  });
}

/** Starts calls differently. */
export function calling(how: (call: OutboundCall, start: () => void) => void): Lie {
  return (transport) => ({
    caller: (address) => {
      const port = transport.caller?.(address);
      assert.ok(port);
      return {
        start: (call) => how(call, () => port.start(call)),
        cancel: (call) => port.cancel(call),
        close: () => port.close(),
      };
    },
  });
}

/** Starts jobs differently. */
export function executing(how: (job: OutboundJob, start: () => void) => void): Lie {
  return (transport) => ({
    executor: (address) => {
      const port = transport.executor?.(address);
      assert.ok(port);
      return {
        start: (job) => how(job, () => port.start(job)),
        cancel: (job, reason) => port.cancel(job, reason),
        abandon: (job) => port.abandon(job),
        close: () => port.close(),
      };
    },
  });
}
