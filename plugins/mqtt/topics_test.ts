/**
 * Topics: what is written can be read again, whatever the headers hold.
 *
 * @module
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import { addHeaders, headersOf, type Marks, topicMatches, Topics } from "./topics.ts";
import { listeningQos, type MqttConfig, qosOf } from "./config.ts";

const topics = new Topics("patchbay", "0123456789abcdef");

Deno.test("topics: headers of any text come back, in properties and in the topic", () => {
  const text = fc.string({ unit: "binary", maxLength: 40 });
  const name = fc.string({ unit: "binary", minLength: 1, maxLength: 20 })
    .filter((each) => each !== "__proto__" && each.isWellFormed());
  fc.assert(fc.property(fc.dictionary(name, text), (given) => {
    const marks: Marks = {};
    addHeaders(marks, given);
    const wanted = Object.fromEntries(
      Object.entries(given).map(([key, value]) => [key, value.toWellFormed()]),
    );
    assert.deepEqual({ ...headersOf(marks) ?? {} }, { ...wanted });
    const topic = topics.withTail(topics.call("arm/move"), "bay", "7", marks);
    assert.doesNotMatch(topic, /[+#\0]/, "a topic has no wildcard");
    const { address, tail } = topics.read(topic, topics.calls);
    assert.deepEqual([address, tail?.bay, tail?.id], ["arm/move", "bay", "7"]);
    assert.deepEqual({ ...headersOf(tail?.marks ?? {}) ?? {} }, { ...wanted });
  }));
});

Deno.test("topics: headers that look like ours, or that MQTT could not carry, are hidden", () => {
  const marks: Marks = { "pb-id": "bay:1" };
  addHeaders(marks, { "pb-id": "mine", note: "two\nlines" });
  assert.deepEqual(marks, {
    "pb-id": "bay:1",
    "pb-h-pb-id": "mine",
    "pb-e-note": "two%0Alines",
  });
  assert.deepEqual(headersOf(marks), { "pb-id": "mine", note: "two\nlines" });
});

Deno.test("topics: filters match as section 4.7 of MQTT 5 says", () => {
  const cases: readonly (readonly [string, string, boolean])[] = [
    ["sport/#", "sport", true],
    ["sport/#", "sport/tennis/1", true],
    ["sport/+", "sport", false],
    ["sport/+", "sport/", true],
    ["+", "/finance", false],
    ["+/+", "/finance", true],
    ["#", "$SYS/broker", false],
    ["+/monitor", "$SYS/monitor", false],
    ["$SYS/#", "$SYS/monitor", true],
    ["a/+/c", "a/b/c", true],
    ["a/+/c", "a/b/d", false],
  ];
  for (const [filter, topic, expected] of cases) {
    assert.equal(topicMatches(filter, topic), expected, `${filter} ${topic}`);
  }
  assert.deepEqual(topics.filters("arm/*"), ["patchbay/shout/arm/+", "patchbay/shout/arm/+/@/#"]);
  assert.deepEqual(topics.filters("**"), ["patchbay/shout/#"]);
});

Deno.test("topics: a listener gets the best quality of any shout that it may meet", () => {
  const config = { qos: 0, atLeastOnce: ["order/**"], exactlyOnce: ["order/pay"] } as const;
  const known = config as unknown as MqttConfig;
  assert.deepEqual(["order/pay", "order/new", "arm/pose"].map((each) => qosOf(known, each)), [
    2,
    1,
    0,
  ]);
  const patterns = ["order/pay", "order/new", "order/*", "**", "arm/**", "*/new", "order"];
  assert.deepEqual(patterns.map((each) => listeningQos(known, each)), [2, 1, 2, 2, 0, 1, 0]);
});
