/**
 * What the policies of writers and readers do, one by one.
 *
 * @module
 */

import assert from "node:assert/strict";
import { DEFAULT_QOS, mismatches, type Qos } from "./qos.ts";
import type { Sample } from "./mod.ts";
import { payload, Place } from "./testdata/place.ts";
import { Lonely, Stranger, writerId } from "./testdata/stranger.ts";

Deno.test("qos: each policy fits in its own direction, and is told by its name where it does not", () => {
  const pairs: [Partial<Qos>, Partial<Qos>, string][] = [
    [{ reliability: "best_effort" }, { reliability: "reliable" }, "reliability"],
    [{ durability: "volatile" }, { durability: "transient_local" }, "durability"],
    [{ deadlineMs: 200 }, { deadlineMs: 100 }, "deadline"],
    [{}, { deadlineMs: 100 }, "deadline"],
    [{ latencyBudgetMs: 20 }, { latencyBudgetMs: 10 }, "latency_budget"],
    [{ liveliness: "automatic" }, { liveliness: "manual_by_participant" }, "liveliness"],
    [{ liveliness: "manual_by_participant" }, { liveliness: "manual_by_topic" }, "liveliness"],
    [{ livelinessLeaseMs: 200 }, { livelinessLeaseMs: 100 }, "liveliness_lease"],
    [{ destinationOrder: "by_reception" }, { destinationOrder: "by_source" }, "destination_order"],
  ];
  const told = (offered: Partial<Qos>, requested: Partial<Qos>) =>
    mismatches({ ...DEFAULT_QOS, ...offered }, { ...DEFAULT_QOS, ...requested })
      .map(({ policy }) => policy);
  for (const [less, more, policy] of pairs) {
    assert.deepEqual(told(less, more), [policy], JSON.stringify([less, more]));
    // Who offers more than is requested fits, and so does who offers just that.
    assert.deepEqual(told(more, less), [], JSON.stringify([more, less]));
    assert.deepEqual(told(more, more), []);
  }
  // Of these, each side has to say the same.
  const [shared, exclusive] = [{ ownership: "shared" }, { ownership: "exclusive" }] as const;
  assert.deepEqual([told(shared, exclusive), told(exclusive, shared)], [["ownership"], [
    "ownership",
  ]]);
  assert.deepEqual(told({ partition: ["a"] }, { partition: ["b"] }), ["partition"]);
});

Deno.test("reader: what has outlived its lifespan on its way is counted, not delivered", async () => {
  await using lonely = await Lonely.open();
  const got: Sample[] = [];
  const qos: Partial<Qos> = { reliability: "best_effort" };
  const reader = lonely.participant.createReader({
    topic: "t",
    type: "T",
    qos,
    onSample: (sample) => void got.push(sample),
  });
  const made = new Stranger(lonely);
  await lonely.hear(made.announce());
  await lonely.hear(
    made.endpoint("writer", writerId(1), { qos: { ...qos, lifespanMs: 60_000 } }),
  );
  const write = (sequence: number, timestampMs: number) =>
    lonely.hear(
      made.say((to) =>
        to.data(0, writerId(1), sequence, timestampMs, payload(8, sequence), false, undefined)
      ),
    );
  await write(1, Date.now() - 61_000);
  await write(2, Date.now());
  assert.deepEqual(got.map(({ sequence }) => sequence), [2]);
  assert.deepEqual(reader.statistics.losses, { expired: 1 });
});

Deno.test("participant: one sign of life is good for all its writers that live by hand", async () => {
  await using place = new Place();
  const [a, b] = [await place.participant(), await place.participant()];
  const qos: Partial<Qos> = {
    reliability: "reliable",
    liveliness: "manual_by_participant",
    livelinessLeaseMs: 100,
  };
  const options = { type: "T", qos, onMatched: place.touch };
  const told = { one: [] as boolean[], two: [] as boolean[] };
  for (const topic of ["one", "two"] as const) {
    b.createReader({
      ...options,
      topic,
      onLiveliness: (_, alive) => {
        told[topic].push(alive);
        place.touch();
      },
    });
  }
  const one = a.createWriter({ ...options, topic: "one" });
  const two = a.createWriter({ ...options, topic: "two" });
  await place.until(() => one.matched.length + two.matched.length === 2, "a match");
  await place.until(() => told.one.at(-1) === false && told.two.at(-1) === false, "their deaths");
  one.assertLiveliness();
  await place.until(() => told.one.includes(true) && told.two.includes(true), "their lives");
});
