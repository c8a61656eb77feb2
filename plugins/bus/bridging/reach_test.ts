import assert from "node:assert/strict";
import { type ManagerRecord, Reach, widest } from "./reach.ts";

const record = (id: string, hops = 0, hears: string[] = [`frame/${id}`]): ManagerRecord => (
  { id, name: id, hops, hears, modules: [] }
);

Deno.test("reach: the nearest way counts, and what is too far is not there", () => {
  const reach = new Reach("me", 2);
  reach.set("left", [record("l"), record("x", 1), record("far", 2)]);
  reach.set("right", [record("r"), record("x", 0)]);
  const routes = [...reach.routes].map(([id, { via, record }]) => [id, via, record.hops]);
  assert.deepEqual(routes.sort(), [["l", "left", 1], ["r", "right", 1], ["x", "right", 1]]);
  assert.deepEqual(reach.heardBeyond("left"), ["frame/l"]);
  assert.deepEqual(reach.heardBeyond("right"), ["frame/r", "frame/x"]);
  assert.ok(reach.drop("right"));
  assert.deepEqual(reach.heardBeyond("left"), ["frame/l", "frame/x"]);
});

Deno.test("reach: what came over a bridge is not told over it, so that nothing outlives its manager", () => {
  const reach = new Reach("me", 4);
  reach.set("left", [record("l"), record("me", 1)]);
  reach.set("right", [record("r"), record("l", 1)]);
  const own = record("me");
  assert.deepEqual(reach.tell("left", own).map(({ id }) => id), ["me", "r"]);
  assert.deepEqual(reach.tell("right", own).map(({ id, hops }) => [id, hops]), [["me", 0], [
    "l",
    1,
  ]]);
});

/** Managers that tell each other their tables until nothing changes; bridges go both ways. */
function network(edges: readonly [string, string][], hears: Readonly<Record<string, string[]>>) {
  const names = [...new Set(edges.flat())];
  const reaches = new Map(names.map((name) => [name, new Reach(name, 4)]));
  const own = (name: string) => record(name, 0, hears[name] ?? []);
  const both = edges.flatMap(([a, b]) => [[a, b], [b, a]]);
  for (let round = 0; round < 8; round++) {
    for (const [from, to] of both) {
      reaches.get(to)!.set(from, reaches.get(from)!.tell(to, own(from)));
    }
  }
  const neighbours = (name: string) => both.filter(([from]) => from === name).map(([, to]) => to);
  return {
    /** How often a frame comes to each manager, and how many bridges it passes in all. */
    send(address: string, origin: string) {
      const came = new Map<string, number>();
      let passed = 0;
      const queue: [string, string | undefined][] = [[origin, undefined]];
      for (let at = queue.shift(); at !== undefined; at = queue.shift()) {
        const [name, from] = at;
        const reach = reaches.get(name)!;
        for (const to of neighbours(name)) {
          const wanted = reach.heardBeyond(to).includes(address);
          // Who pulls finds the same as who would push.
          assert.equal(
            reaches.get(to)!.heardBefore(name, own(to)).includes(address),
            wanted,
            `${name} → ${to}`,
          );
          if (to === from || !wanted || !reach.leadsOn(to, origin)) continue;
          passed++;
          came.set(to, (came.get(to) ?? 0) + 1);
          assert.ok(passed < 100, "it goes round");
          queue.push([to, name]);
        }
      }
      return { came, passed };
    },
  };
}

Deno.test("reach: in rings, chains and nets each frame comes once to each that hears it", () => {
  const nets: [string, string][][] = [
    [["a", "b"], ["b", "c"]],
    [["a", "b"], ["b", "c"], ["c", "a"]],
    [["a", "b"], ["b", "c"], ["c", "d"], ["d", "a"]],
    [["a", "b"], ["a", "c"], ["b", "c"], ["b", "d"], ["c", "d"], ["d", "e"]],
    [["a", "b"], ["a", "c"], ["a", "d"], ["b", "c"], ["b", "d"], ["c", "d"]],
  ];
  for (const edges of nets) {
    const names = [...new Set(edges.flat())];
    for (const origin of names) {
      for (const listener of names.filter((name) => name !== origin)) {
        const { came } = network(edges, { [listener]: ["frame/x"] }).send("frame/x", origin);
        assert.equal(came.get(listener), 1, `${origin} to ${listener} in ${JSON.stringify(edges)}`);
      }
      const everywhere = Object.fromEntries(names.map((name) => [name, ["frame/x"]]));
      const { came, passed } = network(edges, everywhere).send("frame/x", origin);
      assert.equal(passed, names.length - 1);
      for (const name of names) assert.equal(came.get(name) ?? 0, name === origin ? 0 : 1);
    }
  }
});

Deno.test("reach: a triangle sends nothing past who does not hear it", () => {
  const { came } = network([["a", "b"], ["b", "c"], ["c", "a"]], { c: ["frame/x"] })
    .send("frame/x", "a");
  assert.deepEqual([...came], [["c", 1]]);
});

Deno.test("reach: a pattern stands for what it holds", () => {
  assert.deepEqual([...widest(["frame/a", "frame/*", "frame/b"])], ["frame/*"]);
  assert.deepEqual([...widest(["frame/a", "frame/b", "frame/a"])], ["frame/a", "frame/b"]);
});

Deno.test("reach: of too many managers the nearest are told, and of too many patterns all frames are carried", () => {
  const reach = new Reach("me", 8);
  for (let n = 0; n < 4; n++) {
    const far = Array.from({ length: 63 }, (_, i) => record(`${n}-${i}`, 3 - n));
    reach.set(`bridge${n}`, [record(`next${n}`), ...far]);
  }
  const own = record("me");
  const hops = reach.tell("another", own).map((each) => each.hops);
  assert.equal(hops.length, 64);
  assert.deepEqual(hops.slice(0, 5), [0, 1, 1, 1, 1]);
  assert.equal(Math.max(...hops), 1);
  const patterns = Array.from({ length: 513 }, (_, n) => `frame/x${n}`);
  assert.deepEqual([...widest(patterns)], ["frame/**"]);
  assert.equal(widest(patterns.slice(1)).size, 512);
});
