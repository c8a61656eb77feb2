/**
 * What is asked of a plugin as a whole, without a far side: clear errors for what it cannot do, and
 * for a place where it cannot work.
 *
 * @module
 */

import type { Bay } from "../../bay.ts";
import type { Pattern } from "../../errors.ts";
import { open } from "../../open.ts";
import type { Plugin } from "../../plugin.ts";
import { ok, refused } from "../expect.ts";
import type { Fixture } from "../plugin_fixture.ts";

type Whole = readonly [title: string, run: () => Promise<void>];

const ATTEMPTS: Readonly<Record<Pattern, readonly ((bay: Bay) => Promise<unknown>)[]>> = {
  callable: [(bay) => bay.serve("some/thing", () => 1), (bay) => bay.call("some/thing", 1)],
  speaker: [(bay) => bay.speaker("some/thing"), (bay) => bay.listen("some/thing")],
  job: [(bay) => bay.perform("some/thing", () => 1), (bay) => bay.execute("some/thing", 1)],
};

/** For each pattern that the plugin lacks: a clear error. */
export function missing(fixture: Fixture): Whole[] {
  const { capabilities, name } = fixture.plugin;
  const lacking = (["callable", "speaker", "job"] as const).filter((one) => !capabilities[one]);
  return lacking.map((pattern) => [`${pattern}: the wire has none, and says so`, async () => {
    await using meeting = await fixture.meeting();
    await using bay = await open(meeting.options("near"));
    for (const attempt of ATTEMPTS[pattern]) {
      const error = await refused(attempt(bay), "unavailable", `a ${pattern} over ${name}`);
      ok(
        error.message.includes(name) && error.message.includes(`no ${pattern}`),
        `the error should say that ${name} has no ${pattern}: ${error.message}`,
      );
    }
  }]);
}

/** A wire for company: it is always there, and nobody is ever on it. */
const DESERT: Plugin = {
  name: "desert",
  summary: "nobody is there",
  capabilities: { callable: true, speaker: false, job: false },
  scope: "network",
  rank: 999,
  traits: {
    ordered: true,
    delivery: "at_most_once",
    retained: false,
    headers: false,
    job: "none",
    maxPayloadBytes: 0,
    zeroCopy: false,
    values: false,
    backpressure: false,
    noticesDeath: true,
  },
  config: { "~standard": { version: 1, vendor: "conformance", validate: (value) => ({ value }) } },
  available: () => ({ available: true }),
  open: () =>
    Promise.resolve({
      extras: undefined,
      health: () => ({ status: "healthy" }),
      find: () => ({ found: false, reason: "it is a desert" }),
      close: () => Promise.resolve(),
    }),
};

/** The wire cannot be used: it says why and what to do, and stops no other wire. */
export function unavailable(fixture: Fixture): Whole[] {
  const make = fixture.unavailable;
  if (make === undefined) return [];
  const title = "lifecycle: where it cannot be used, it says why and what to do, and stops nobody";
  return [[title, async () => {
    await using circumstances = await make();
    const { options, reason, remedy } = circumstances;
    await using bay = await open({ ...options, plugins: [...options.plugins, DESERT] });
    const status = bay.wires().find((wire) => wire.name === fixture.plugin.name);
    ok(status?.open === false, "the wire is open although it should not be");
    ok(reason.test(status.reason ?? ""), `the reason should match ${reason}: ${status.reason}`);
    ok(remedy.test(status.remedy ?? ""), `the remedy should match ${remedy}: ${status.remedy}`);
    ok(bay.wires().some((wire) => wire.name === "desert" && wire.open), "another wire is not open");
    const error = await refused(bay.call("some/thing", 1), "not_found", "a call over the rest");
    ok(error.message.includes(fixture.plugin.name), `the error names every wire: ${error.message}`);
  }]];
}
