import assert from "node:assert/strict";
import type { Offer } from "../offers.ts";
import { verdicts } from "./wants.ts";

const ME = "b5";

function offer(by: string, path: string[] = [], more: Partial<Offer> = {}): Offer {
  const bridged = path.length === 0 ? undefined : { path, origins: [by] };
  const pattern = "callable";
  return { pattern, address: "arm/move", shared: false, retain: false, by, bridged, ...more };
}

function outcome(near: Offer[], far: Offer[]): string | undefined {
  const found = verdicts(near, far, ME);
  assert.ok(found.size <= 1);
  return [...found.values()][0]?.outcome;
}

Deno.test("wants: what is on the one wire alone is carried, with this bridge in its path", () => {
  const { want } = verdicts([offer("a1")], [], ME).get("callable arm/move") ?? assert.fail();
  assert.deepEqual(want.bridged, { path: [ME], origins: ["a1"] });
  const next = verdicts([offer("a1", ["b1"])], [], ME).get("callable arm/move") ?? assert.fail();
  assert.deepEqual(next.want.bridged, { path: ["b1", ME], origins: ["a1"] });
});

Deno.test("wants: what this bridge itself offers is not there, directly or round a circle", () => {
  assert.equal(outcome([offer("a1", [ME])], []), undefined);
  assert.equal(outcome([offer("a1", ["b1", ME, "b2"])], []), undefined);
});

Deno.test("wants: after eight bridges an offer goes no further", () => {
  const path = (n: number) => Array.from({ length: n }, (_, i) => `x${i}`);
  assert.equal(outcome([offer("a1", path(7))], []), "carry");
  assert.equal(outcome([offer("a1", path(8))], []), "standby");
});

Deno.test("wants: of two bridges in parallel the one with the smaller id carries", () => {
  const speaker = { pattern: "speaker", shared: true } as const;
  const near = [offer("a1", [], speaker)];
  assert.equal(outcome(near, [offer("a1", ["b4"], speaker)]), "standby");
  assert.equal(outcome(near, [offer("a1", ["b6"], speaker)]), "carry");
  assert.equal(outcome(near, [offer("a1", ["b1", "b2"], speaker)]), "carry", "a longer path");
  assert.equal(outcome(near, [offer("a1", [], speaker)]), "standby", "it is there itself");
});

Deno.test("wants: another speaker of the address is no reason not to carry this one", () => {
  const speaker = { pattern: "speaker", shared: true } as const;
  const near = [offer("a1", [], speaker), offer("a2", [], speaker)];
  const far = [offer("a1", [], speaker)];
  const { outcome, want } = verdicts(near, far, ME).get("speaker arm/move") ?? assert.fail();
  assert.equal(outcome, "carry");
  assert.deepEqual(want.bridged.origins, ["a2"]);
});

Deno.test("wants: an exclusive address that somebody else has is taken, a shared one is not", () => {
  assert.equal(outcome([offer("a1")], [offer("a2")]), "taken");
  assert.equal(outcome([offer("a1")], [offer("a2", [], { shared: true })]), "taken");
  const shared = { shared: true };
  assert.equal(outcome([offer("a1", [], shared)], [offer("a2", [], shared)]), "carry");
});
