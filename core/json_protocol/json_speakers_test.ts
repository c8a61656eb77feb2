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
