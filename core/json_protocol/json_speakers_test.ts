import assert from "node:assert/strict";
import { JsonSpeakers } from "./json_speakers.ts";

function speakers() {
  const told: string[] = [];
  const made = new JsonSpeakers({
    maxQueueBytes: 100,
    event: ({ address }) => void told.push(`event ${address}`),
    register: () => {},
    taken: (id) => void told.push(`taken ${id}`),
    refused: (id, address, { code }) => void told.push(`refused ${id} ${address} ${code}`),
  }, 1000);
  return { told, made };
}

const shout = (id: number, bytes: number, address: string) => ({
  id,
  address,
  content: { codec: "raw" as const, body: new Uint8Array(bytes) },
  headers: undefined,
  priority: 128,
});

Deno.test("json speakers: shouts of a speaker that is taken back early are refused, and hold nothing", () => {
  const { made, told } = speakers();
  made.offer(1, "a/x", false);
  made.shout(shout(1, 90, "a/x"), false);
  made.withdraw(1);
  made.registered(1, undefined);
  assert.deepEqual(told, ["refused 1 a/x closed"]);
  made.offer(2, "a/y", false);
  made.shout(shout(2, 90, "a/y"), false); // As much as ever may wait.
  made.registered(2, undefined);
  assert.deepEqual(told.slice(1), ["taken 2"]);
});

Deno.test("json speakers: more last values than a blocking listener takes are told, and break nothing", () => {
  const { made, told } = speakers();
  for (let i = 0; i < 4; i++) {
    made.offer(i, `r/${i}`, true);
    made.registered(i, undefined);
    made.shout(shout(i, 1, `r/${i}`), true);
  }
  told.length = 0;
  made.subscribe(1, { pattern: "r/**", overflow: "block", maxQueue: 1, retained: true });
  assert.deepEqual(told, [
    "event r/0",
    "refused undefined r/2 overloaded",
    "refused undefined r/3 overloaded",
  ]);
});

Deno.test("json speakers: a value is kept as long as one of the address keeps it", () => {
  const { made, told } = speakers();
  const late = (id: number) => {
    told.length = 0;
    made.subscribe(id, { pattern: "r/x", overflow: "drop_oldest", maxQueue: 9, retained: true });
    made.unsubscribe(id);
    return [...told];
  };
  for (const [id, retain] of [true, false].entries()) {
    made.offer(id, "r/x", retain);
    made.registered(id, undefined);
  }
  made.shout(shout(1, 90, "r/x"), false);
  assert.deepEqual(late(1), ["event r/x"]);
  made.withdraw(0);
  assert.deepEqual(late(2), []);
  made.shout(shout(2, 90, "r/x"), false);
  assert.deepEqual(late(3), []);
  // What it took has room again.
  made.offer(2, "r/y", true);
  made.registered(2, undefined);
  told.length = 0;
  made.shout(shout(3, 90, "r/y"), true);
  assert.deepEqual(told, ["taken 3"]);
});

Deno.test("json speakers: retained values are bounded in bytes, and a refusal changes nothing", () => {
  const { made, told } = speakers();
  made.subscribe(1, { pattern: "**", overflow: "drop_oldest", maxQueue: 9, retained: false });
  for (const [i, address] of ["r/0", "r/1"].entries()) {
    made.offer(i, address, true);
    made.registered(i, undefined);
  }
  made.shout(shout(1, 60, "r/0"), true);
  made.shout(shout(2, 41, "r/1"), true); // 101 in all.
  made.shout({ ...shout(3, 40, "r/1"), headers: { n: "" } }, true); // Headers are kept as well.
  assert.deepEqual(told.splice(0), [
    "event r/0",
    "taken 1",
    "refused 2 r/1 overloaded",
    "refused 3 r/1 overloaded",
  ]);
  // The last value is replaced, not added to; and goes with its speaker.
  made.shout(shout(4, 100, "r/0"), true);
  made.withdraw(0);
  made.shout(shout(5, 100, "r/1"), true);
  made.offer(0, "r/2", false);
  made.registered(0, undefined);
  made.shout(shout(6, 90, "r/2"), false);
  assert.deepEqual(told.splice(0).filter((line) => !line.startsWith("event")), [
    "taken 4",
    "taken 5",
    "taken 6",
  ]);
  made.subscribe(2, { pattern: "r/*", overflow: "drop_oldest", maxQueue: 9, retained: true });
  assert.deepEqual(told, ["event r/1"]);
});

Deno.test("json speakers: what waits is bounded in number and in headers, too, and refused without an id", () => {
  const { made, told } = speakers();
  made.offer(1, "a/x", false);
  const large = { ...shout(1, 0, "a/x"), headers: { name: "v".repeat(97) } };
  made.shout(large, false);
  made.shout({ ...large, id: undefined }, false);
  assert.deepEqual(told.splice(0), [
    "refused 1 a/x overloaded",
    "refused undefined a/x overloaded",
  ]);
  for (let n = 0; n < 65_536; n++) made.shout({ ...shout(1, 0, "a/x"), id: undefined }, false);
  assert.deepEqual(told, []);
  made.shout(shout(2, 0, "a/x"), false);
  assert.deepEqual(told.splice(0), ["refused 2 a/x overloaded"]);
  made.registered(1, undefined);
  made.offer(2, "a/y", false);
  made.shout(shout(3, 0, "a/y"), false);
  made.registered(2, undefined);
  assert.deepEqual(told, ["taken 3"]);
});
