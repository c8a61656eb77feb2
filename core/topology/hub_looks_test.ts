import assert from "node:assert/strict";
import { turn, until } from "../session/testing/rig.ts";
import { TimerWheel } from "../timer_wheel.ts";
import { HubLooks, OFFERS_PER_TURN } from "./hub_looks.ts";

/** A wheel that never turns by itself. */
class StillWheel extends TimerWheel {
  armed = 0;

  override arm(): void {
    this.armed++;
  }

  override disarm(): void {}
}

Deno.test("hub looks: repeated ones are joined, dear ones wait for their turn, each is looked for", async () => {
  const looked: number[] = [];
  const wheel = new StillWheel();
  const looks = new HubLooks(wheel, (id) => {
    looked.push(id);
    return OFFERS_PER_TURN / 2;
  });
  for (let n = 0; n < 100; n++) for (const id of [1, 2, 3]) looks.ask(id);
  assert.deepEqual(looked, []);
  await turn();
  assert.deepEqual(looked, [1, 2]);
  looks.ask(1);
  looks.ask(4);
  looks.forget(4);
  await turn();
  assert.deepEqual(looked, [1, 2]);
  looks.expire();
  assert.deepEqual(looked, [1, 2, 3, 1]);
  assert.equal(wheel.armed, 2);
  looks.ask(5);
  looks.close();
  looks.expire();
  await turn();
  assert.deepEqual(looked, [1, 2, 3, 1]);
});

Deno.test("hub looks: the bay's timer gives the next turn", async () => {
  const wheel = new TimerWheel();
  const looked: number[] = [];
  const looks = new HubLooks(wheel, (id) => looked.push(id) * 0 + OFFERS_PER_TURN);
  for (const id of [1, 2, 3]) looks.ask(id);
  await until("all three", () => looked.length === 3);
  assert.deepEqual(looked, [1, 2, 3]);
  looks.close();
  wheel.close();
});
