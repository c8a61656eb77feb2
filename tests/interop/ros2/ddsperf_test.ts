/**
 * `ddsperf`, Cyclone DDS's own tool, publishing to us and subscribing to us.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Place } from "../../../plugins/ros2/rtps/testdata/place.ts";
import { requireOrIgnore } from "../../require.ts";
import { CYCLONE_ENV } from "./peers.ts";

const found = await requireOrIgnore(
  "ddsperf",
  () => new Deno.Command("ddsperf", { args: ["help"], stdout: "null" }).output().then(() => true),
  "apt-get install cyclonedds-tools",
);

/** Its default topic: a number, a key, octets. */
const TOPIC = { topic: "DDSPerfRDataKS", type: "KeyedSeq", keyed: true } as const;
const QOS = { history: "keep_all" } as const;
const KEY = "0".repeat(32);

function ddsperf(place: Place, ...args: string[]) {
  return new Deno.Command("ddsperf", {
    args: ["-i", String(place.domain), ...args],
    env: CYCLONE_ENV,
    stdin: "null",
    stdout: "piped",
    // It complains of participants that are not its own kind.
    stderr: "null",
  }).spawn();
}

Deno.test({
  name: found.name("ddsperf: what it publishes as fast as it can comes whole and in order"),
  ignore: found.ignore,
  fn: async () => {
    await using place = new Place();
    const us = await place.participant();
    let last = -1;
    let wrong = 0;
    let received = 0;
    us.createReader({
      ...TOPIC,
      qos: QOS,
      onSample: ({ payload }) => {
        const number = new DataView(payload.buffer, payload.byteOffset).getUint32(4, true);
        // It begins with what it wrote after it knew of us, and stops where it likes.
        if (last >= 0 && number !== last + 1) wrong++;
        last = number;
        received++;
        place.touch();
      },
    });
    await using child = ddsperf(place, "-D", "3", "pub", "size", "100");
    const output = child.output();
    await place.until(() => received > 1_000, "a thousand samples");
    assert.ok((await output).success);
    assert.equal(wrong, 0);
  },
});

Deno.test({
  name: found.name("ddsperf: what we publish it receives, and misses none"),
  ignore: found.ignore,
  fn: async () => {
    await using place = new Place();
    const us = await place.participant();
    const writer = us.createWriter({ ...TOPIC, qos: QOS, onMatched: place.touch });
    // Its exit code says whether so many samples came.
    await using child = ddsperf(place, "-D", "3", "-Q", "samples:1000", "sub");
    const output = child.output();
    await place.until(() => writer.matched.length > 0, "a match");
    for (let n = 0; n < 3_000; n++) {
      const payload = new Uint8Array(24);
      payload[1] = 1;
      const view = new DataView(payload.buffer);
      view.setUint32(4, n, true);
      view.setUint32(12, 8, true);
      await writer.writable(payload.length, KEY);
      writer.write(payload, { key: KEY });
    }
    assert.equal(await writer.untilAcknowledged(20_000), true);
    const { success, stdout } = await output;
    const text = new TextDecoder().decode(stdout);
    assert.ok(success, text);
    assert.match(text, /total \d+ lost 0 /);
    assert.doesNotMatch(text, /lost [1-9]/);
  },
});
