/**
 * One case of the suite: what it needs, what it is given, and how it is run under a watchdog.
 *
 * @module
 */

import type { Bay } from "../bay.ts";
import type { PatchbayError, Pattern } from "../errors.ts";
import { open } from "../open.ts";
import type { Traits } from "../plugin.ts";
import { FAR_MODULE, type FarRole, type FarSide, openFarSide } from "./far_side.ts";
import { type Fixture, type Layout, LAYOUTS, type Means, type Meeting } from "./plugin_fixture.ts";
import type { Overrides } from "./plugin_fixture.ts";
import type { Args, RoleName } from "./roles.ts";
import { until } from "./tally.ts";

/** One thing that a transport promises, and how to see whether it keeps it. */
export interface Case {
  /** The promise, as a sentence: `callable: the answer belongs to the question`. */
  readonly name: string;
  /** The layouts in which it means something; default: all. */
  readonly layouts?: readonly Layout[];
  /** The pattern it uses: with the capability missing it is replaced by a case of its own. */
  readonly pattern?: Pattern;
  /** What the fixture must be able to do. */
  readonly means?: Means;
  /** How to open the near and the far bay. */
  readonly overrides?: Overrides;
  /** Sees whether the promise is kept; throws if not. */
  run(context: CaseContext): Promise<void>;
}

/**
 * Cases of one pattern.
 *
 * @param pattern The pattern.
 * @param cases The cases.
 */
export function ofPattern(pattern: Pattern, cases: readonly Omit<Case, "pattern">[]): Case[] {
  return cases.map((one) => ({ ...one, pattern }));
}

/** How long a case may take in all, in milliseconds, before it is taken to hang. */
export const WATCHDOG_MS = 30_000;

/** What a case is given. Its functions can be taken out of it. */
export interface CaseContext {
  /** The plugin's fixture. */
  readonly fixture: Fixture;
  /** What the plugin says it gives. */
  readonly traits: Traits;
  /** Where the far side lives. */
  readonly layout: Layout;
  /** Where the bays meet. */
  readonly meeting: Meeting;
  /** The bay on this side. */
  readonly near: Bay;
  /** The other side. */
  readonly far: FarSide;
  /** The module name that the far side's bay has. */
  readonly farModule: string;
  /** What the bays of this process have reported. */
  readonly reports: readonly PatchbayError[];
  /**
   * Has the far side play a role until the end of the case.
   *
   * @param role Which.
   * @param args How.
   */
  readonly play: (role: RoleName, args: Args) => Promise<FarRole>;
  /**
   * Waits for something; if the case hangs, its failure says for what.
   *
   * @param what What it waits for.
   * @param promise The wait.
   */
  readonly wait: <T>(what: string, promise: Promise<T>) => Promise<T>;
  /**
   * Waits until a question is answered with yes.
   *
   * @param what What it waits for.
   * @param check The question.
   */
  readonly until: (what: string, check: () => boolean | Promise<boolean>) => Promise<void>;
  /**
   * Opens one more bay in this process; it is closed at the end of the case.
   *
   * @param module Its module name.
   * @param overrides How to open it.
   */
  readonly open: (module: string, overrides?: Overrides) => Promise<Bay>;
  /**
   * Does something at the end of the case, however it ends.
   *
   * @param work What to do.
   */
  readonly defer: (work: () => Promise<unknown>) => void;
}

/** The layouts in which a case can be run with a fixture. */
export function layoutsOf(one: Case, fixture: Fixture): readonly Layout[] {
  if (one.pattern !== undefined && !fixture.plugin.capabilities[one.pattern]) return [];
  if (one.means !== undefined && fixture.lacks?.[one.means] !== undefined) return [];
  return (one.layouts ?? LAYOUTS).filter((layout) => fixture.layouts.includes(layout));
}

/** What changes who is there. */
const CHANGES: ReadonlySet<unknown> = new Set(["serve", "perform", "speaker", "listen", "close"]);
/** What finds who is there. */
const FINDS: ReadonlySet<unknown> = new Set(["call", "execute"]);

/** The same bay, where what one says is known to the others only after a moment. */
function settling(bay: Bay, settle: () => Promise<void>): Bay {
  return new Proxy(bay, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== "function") return value;
      const call = (...args: unknown[]) => Reflect.apply(value, target, args);
      if (FINDS.has(name)) return (...args: unknown[]) => settle().then(() => call(...args));
      if (!CHANGES.has(name)) return call;
      return async (...args: unknown[]) => {
        const made = await call(...args);
        await settle();
        return made;
      };
    },
  });
}

/** A promise that rejects when the signal is aborted, and how to let go of it. */
function rejection(signal: AbortSignal): { promise: Promise<never>; release: () => void } {
  const { promise, reject } = Promise.withResolvers<never>();
  promise.catch(() => {});
  const onAbort = () => reject(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  return { promise, release: () => signal.removeEventListener("abort", onAbort) };
}

/**
 * Runs one case with a meeting of its own; throws if the promise is not kept, if it hangs, or if it
 * leaves something behind.
 *
 * @param one The case.
 * @param fixture The plugin's fixture.
 * @param layout Where the far side lives.
 * @param watchdogMs How long it may take.
 */
export async function runCase(
  one: Case,
  fixture: Fixture,
  layout: Layout,
  watchdogMs: number = WATCHDOG_MS,
): Promise<void> {
  const waits = new Set<string>();
  const deferred: (() => Promise<unknown>)[] = [];
  const reports: PatchbayError[] = [];
  const watchdog = new AbortController();
  const timer = setTimeout(() => {
    const told = [...waits].join("; ") || "something it did not name";
    watchdog.abort(
      new Error(`${one.name}: did not end within ${watchdogMs} ms; waiting for ${told}`),
    );
  }, watchdogMs);
  const late = rejection(watchdog.signal);
  const step = async <T>(what: string, work: Promise<T>): Promise<T> => {
    waits.add(what);
    try {
      return await Promise.race([work, late.promise]);
    } finally {
      waits.delete(what);
    }
  };
  const wait = async <T>(what: string, promise: Promise<T>): Promise<T> => {
    waits.add(what);
    try {
      return await promise;
    } finally {
      waits.delete(what);
    }
  };
  const onReport = (error: PatchbayError) => void reports.push(error);
  const settle = async () => {
    await meeting.settle?.();
  };
  const openBay = async (module: string, overrides?: Overrides) => {
    const bay = await open({ ...meeting.options(module, overrides), onReport });
    deferred.push(() => bay.close());
    return meeting.settle === undefined ? bay : settling(bay, settle);
  };
  let far: FarSide | undefined;
  const failures: unknown[] = [];
  const meeting = await fixture.meeting();
  try {
    const near = await step("the near bay to open", openBay("near", one.overrides));
    const opened = far = await step(
      "the far side to open",
      openFarSide(fixture, meeting, near, layout, one.overrides ?? {}),
    );
    const context: CaseContext = {
      fixture,
      traits: fixture.plugin.traits,
      layout,
      meeting,
      near,
      far,
      farModule: layout === "alone" ? near.identity.module : FAR_MODULE,
      reports,
      play: async (role, args) => {
        await settle();
        const playing = await wait(`the far ${role} to start`, opened.start(role, args));
        await settle();
        return {
          ask: <T>(question: string, more?: Args) => {
            const answer = settle().then(() => playing.ask<T>(question, more));
            // Who asks a process that then dies may no longer be waiting.
            answer.catch(() => {});
            return answer;
          },
          close: async () => {
            await playing.close();
            await settle();
          },
        };
      },
      wait,
      until: (what, check) => wait(what, until(check, watchdog.signal)),
      open: openBay,
      defer: (work) => void deferred.push(work),
    };
    await step("the case", one.run(context));
  } catch (error) {
    failures.push(error);
  }
  const endFar = async () => {
    if (far === undefined) return;
    const code = await far.end();
    if (code !== 0) throw new Error(`the far process ended with code ${code}`);
  };
  try {
    await step("the far side to end by itself", endFar());
  } catch (error) {
    failures.push(error);
    if (layout === "two_processes") await far?.kill().catch(() => {});
  }
  for (const work of deferred.reverse()) {
    await step("what the case left open to close", work()).catch((e) => failures.push(e));
  }
  clearTimeout(timer);
  late.release();
  try {
    await meeting[Symbol.asyncDispose]();
  } catch (error) {
    failures.push(error);
  }
  if (failures.length > 0) throw failures[0];
}
