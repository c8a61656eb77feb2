import assert from "node:assert/strict";
import fc from "fast-check";
import { DURATION_SCALE, Histogram, type HistogramScale, SIZE_SCALE } from "./histogram.ts";

const inScale = ({ lowest, highest }: HistogramScale) =>
  fc.double({ min: 2 ** lowest, max: 2 ** highest, noNaN: true });

Deno.test("histogram: every value lies in the bucket that the snapshot says", () => {
  fc.assert(
    fc.property(fc.constantFrom(DURATION_SCALE, SIZE_SCALE), fc.double(), (scale, value) => {
      const histogram = new Histogram(scale);
      histogram.observe(value);
      const { bounds, counts, count } = histogram.snapshot();
      assert.equal(count, 1);
      assert.equal(counts.length, bounds.length + 1);
      const bucket = counts.indexOf(1);
      const seen = value > 0 ? value : 0;
      if (bucket < bounds.length) assert.ok(seen <= bounds[bucket]);
      else assert.equal(bounds.at(-1), 2 ** scale.highest);
      if (bucket > 0) assert.ok(seen > bounds[bucket - 1]);
      else assert.equal(bounds[0], 2 ** scale.lowest);
    }),
  );
});

Deno.test("histogram: a value equal to a bound counts below it", () => {
  for (const scale of [DURATION_SCALE, SIZE_SCALE]) {
    const all = new Histogram(scale);
    all.observe(0);
    all.observe(Infinity);
    const { bounds } = all.snapshot();
    assert.equal(bounds.length, (scale.highest - scale.lowest) * 8 + 1);
    bounds.forEach((bound, i) => {
      const one = new Histogram(scale);
      one.observe(bound);
      assert.equal(one.snapshot().bounds.at(-1), bound, `bound ${i}`);
    });
  }
});

Deno.test("histogram: a quantile is within 12.5 % of the true one", () => {
  fc.assert(
    fc.property(
      fc.constantFrom(DURATION_SCALE, SIZE_SCALE).chain((scale) =>
        fc.tuple(fc.constant(scale), fc.array(inScale(scale), { minLength: 1, maxLength: 300 }))
      ),
      fc.double({ min: 0, max: 1, noNaN: true }),
      ([scale, values], q) => {
        const histogram = new Histogram(scale);
        for (const value of values) histogram.observe(value);
        const sorted = Float64Array.from(values).sort();
        const truth = sorted[Math.max(1, Math.ceil(q * values.length)) - 1];
        const answer = histogram.quantile(q);
        // The lower end itself shares the bucket of all that is below: only the upper bound holds.
        if (truth === 2 ** scale.lowest) assert.ok(answer <= truth);
        else assert.ok(Math.abs(answer - truth) <= truth * 0.125, `${answer} for ${truth}`);
      },
    ),
  );
});

Deno.test("histogram: outside the scale a quantile stops at its ends", () => {
  const histogram = new Histogram(SIZE_SCALE);
  assert.ok(Number.isNaN(histogram.quantile(0.5)));
  histogram.observe(2 ** 40);
  assert.equal(histogram.quantile(0.5), 2 ** 30);
  assert.ok(Number.isNaN(histogram.quantile(1.1)));
  assert.ok(Number.isNaN(histogram.quantile(NaN)));
});

Deno.test("histogram: what is no size or duration does not spoil the sum", () => {
  const histogram = new Histogram(DURATION_SCALE);
  for (const value of [NaN, -1, -Infinity, -0, Infinity]) histogram.observe(value);
  assert.equal(histogram.count, 5);
  assert.equal(histogram.sum, 64);
});

Deno.test("histogram: merging snapshots, through JSON, is the same as observing everything", () => {
  const values = fc.array(
    fc.oneof(fc.nat(2 ** 31 - 1), fc.constantFrom(0, 1, 2 ** 30, 2 ** 33)),
    { maxLength: 60 },
  );
  fc.assert(fc.property(values, values, (left, right) => {
    const [a, b, both] = [1, 2, 3].map(() => new Histogram(SIZE_SCALE));
    for (const value of left) a.observe(value), both.observe(value);
    for (const value of right) b.observe(value), both.observe(value);
    a.merge(JSON.parse(JSON.stringify(b.snapshot())));
    assert.deepEqual(a.snapshot(), both.snapshot());
    assert.ok(Object.is(a.quantile(0.9), both.quantile(0.9)));
  }));
});

Deno.test("histogram: a snapshot of another scale is refused and adds nothing", () => {
  const sizes = new Histogram(SIZE_SCALE);
  const durations = new Histogram(DURATION_SCALE);
  durations.observe(0.001);
  const good = durations.snapshot();
  const bad: unknown[] = [
    good,
    { ...new Histogram(SIZE_SCALE).snapshot(), counts: [] },
    { bounds: [1.01], counts: [1, 0], sum: 1, count: 1 },
    { bounds: [2], counts: [-1, 2], sum: 1, count: 1 },
    { bounds: [2], counts: [1, 0], sum: 1, count: 7 },
    { bounds: [2], counts: [1, 0], sum: null, count: 1 },
    { bounds: 5, counts: [1], sum: 1, count: 1 },
  ];
  for (const snapshot of bad) {
    assert.throws(() => sizes.merge(snapshot as typeof good), { code: "invalid" });
  }
  assert.deepEqual(sizes.snapshot(), new Histogram(SIZE_SCALE).snapshot());
});

Deno.test("histogram: an unusable scale is refused", () => {
  for (const [lowest, highest] of [[0, 0], [1, 0], [0.5, 3], [-2000, 0], [0, 2000], [NaN, 1]]) {
    assert.throws(() => new Histogram({ lowest, highest }), { code: "invalid" });
  }
});
