/**
 * A participant on all interfaces of where it runs: `far_program.ts echo|ask DOMAIN`. The one sends
 * back what it hears, the other asks it with samples of several sizes, and prints `right` at the end.
 *
 * @module
 */

import { Participant } from "../mod.ts";
import { payload, Waiter } from "./place.ts";

const [role, domain] = Deno.args;
const SIZES = [1, 1_000, 1_500, 100_000, 1_000_000, 3];
const QOS = { history: "keep_all" } as const;
const waiter = new Waiter();
const participant = await Participant.open({ domain: Number(domain) });
const topics = role === "echo" ? ["there", "back"] : ["back", "there"];
let right = 0;
const writer = participant.createWriter({
  topic: topics[1],
  type: "Bytes",
  qos: QOS,
  onMatched: waiter.touch,
});
// Who echoes hears nobody before it knows who wants the echo.
if (role === "echo") await waiter.until(() => writer.matched.length > 0, "who asks");
const reader = participant.createReader({
  topic: topics[0],
  type: "Bytes",
  qos: QOS,
  onMatched: waiter.touch,
  onSample: (sample) => {
    if (role === "echo") return writer.write(sample.payload.slice());
    const wanted = payload(SIZES[right], right);
    if (wanted.every((byte, i) => byte === sample.payload[i])) right++;
    waiter.touch();
  },
});
console.log("ready");
if (role === "ask") {
  await waiter.until(() => writer.matched.length > 0 && reader.matched.length > 0, "a match");
  for (const [n, size] of SIZES.entries()) {
    await writer.writable(size);
    writer.write(payload(size, n));
  }
  await waiter.until(() => right === SIZES.length, `every echo; ${right} were right`);
  const [{ unicast }] = participant.participants;
  console.log(`right ${unicast.map((each) => each.hostname).join()}`);
  await participant.close();
} else {
  await Deno.stdin.read(new Uint8Array(1));
  await participant.close();
}
