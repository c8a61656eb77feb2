/**
 * Jobs for wires that have none: derived from callables and a speaker, the way ROS 2 actions are.
 *
 * For a job at `arm/move` the worker serves three callables and shouts at one speaker. All of it is
 * plain values, so that a foreign program can take part:
 *
 * | address                  | pattern  | message                                                 |
 * | ------------------------ | -------- | ------------------------------------------------------- |
 * | `arm/move/_job/goal`     | callable | `{ id, goal }` → `{ at? }`; a refusal is the call's error |
 * | `arm/move/_job/cancel`   | callable | `{ id, reason?, abandon? }` → whether the job is known  |
 * | `arm/move/_job/result`   | callable | `{ id, waitMs, after? }` → `{ last, missed?, ended? }`  |
 * | `arm/move/_job/feedback` | speaker  | `{ id, sequence, value }`, `{ id, sequence, progress }` |
 *
 * `id` is 32 hexadecimal digits, chosen by the owner. `result` answers when the job has ended
 * (`{ ok: true, value }` or `{ ok: false, error }`), or with what it knows after `waitMs`; `last` is
 * the number of the last report. With `after` it answers at once, and `missed` holds the oldest
 * reports behind that number that are still kept. Where several workers share the address, `at` of
 * the goal's answer is what takes the place of `arm/move/_job` in `cancel` and `result`.
 *
 * @see https://design.ros2.org/articles/actions.html
 *
 * @module
 */

import { matches } from "./address.ts";
import { DerivedOwner } from "./derived_job_owner.ts";
import { DerivedWorker } from "./derived_job_worker.ts";
import { goalAddress, isJobPart, jobOfGoals } from "./derived_job_messages.ts";
import { PatchbayError } from "./errors.ts";
import { wrapTransport } from "./layer.ts";
import type { Offer } from "./offers.ts";
import type { Transport, TransportContext } from "./plugin.ts";

/**
 * Adds jobs to a transport that has callables and speakers. A native plugin whose trait says
 * `job: "derived"` returns from `open` what this gives.
 *
 * Guaranteed: feedback arrives in order and before the result. What got lost on the way is asked
 * for again; what the worker no longer keeps (it keeps 256 reports), or does not send within a
 * second, is counted as a drop with the reason `feedback_gap`. An owner whose connection was lost
 * finds its job again by the job's id. A worker whose owner is gone goes on for `orphanMs`; where the
 * wire does not say that it is, and the owner only asks no longer, for 5 s at least.
 *
 * @typeParam Extras What only this wire has.
 * @param transport The transport: `serve`, `caller`, `speak` and `listen` are needed.
 * @param context What core gave the plugin.
 * @returns The same transport with `perform` and `executor`, and with jobs in `find`.
 * @throws {PatchbayError} `internal`: the transport has not what jobs are derived from.
 *
 * @example
 * ```ts
 * import { deriveJobs, type Plugin } from "@patchbay/core";
 *
 * function withJobs(plugin: Plugin): Plugin {
 *   return {
 *     ...plugin,
 *     capabilities: { ...plugin.capabilities, job: true },
 *     traits: { ...plugin.traits, job: "derived" },
 *     open: async (context, config) => deriveJobs(await plugin.open(context, config), context),
 *   };
 * }
 * console.log(withJobs.length);
 * ```
 */
export function deriveJobs<Extras>(
  transport: Transport<Extras>,
  context: TransportContext,
): Transport<Extras> {
  const { serve, caller, speak, listen } = transport;
  if (
    serve === undefined || caller === undefined || speak === undefined || listen === undefined
  ) {
    throw new PatchbayError(
      "internal",
      `${context.name}: jobs are derived from callables and speakers, and it lacks one of them`,
      { transport: context.name },
    );
  }
  const owner = new DerivedOwner({
    context,
    caller: caller.bind(transport),
    listen: listen.bind(transport),
  });
  const base = wrapTransport(transport, {
    find: (pattern, address, native, next) =>
      pattern === "job"
        ? next("callable", goalAddress(address), native)
        : next(pattern, address, native),
    // The parts of a job are at other addresses than it.
    watch: async (match, changed, next) => {
      const watching = await next("**", changed);
      return {
        get offers() {
          return withJobs(watching.offers).filter(({ address }) => matches(match, address));
        },
        close: () => watching.close(),
      };
    },
    close: async (next) => {
      await owner.close();
      await next();
    },
  });
  return Object.defineProperties(base, {
    perform: {
      enumerable: true,
      value: (endpoint: ConstructorParameters<typeof DerivedWorker>[0]) =>
        new DerivedWorker(endpoint, {
          context,
          serve: serve.bind(transport),
          speak: speak.bind(transport),
        }).open(),
    },
    executor: { enumerable: true, value: (address: string) => owner.executor(address) },
  });
}

/** Offers with jobs in the place of what they are made of. */
function withJobs(offers: readonly Offer[]): Offer[] {
  return offers.flatMap((offer): Offer[] => {
    if (!isJobPart(offer.address)) return [offer];
    const address = offer.pattern === "callable" ? jobOfGoals(offer.address) : undefined;
    return address === undefined ? [] : [{ ...offer, pattern: "job", address }];
  });
}
