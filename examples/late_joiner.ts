/**
 * Late joiners: a speaker that retains its last value gives it to listeners that come later and ask
 * for it; and a listener that was there first misses nothing of a speaker that comes later.
 *
 * ```sh
 * deno run --allow-env=PATCHBAY_CONFIG,XDG_RUNTIME_DIR \
 *   --allow-read=$XDG_RUNTIME_DIR/patchbay --allow-write=$XDG_RUNTIME_DIR/patchbay \
 *   --allow-net=unix:$XDG_RUNTIME_DIR/patchbay/door.sock \
 *   examples/late_joiner.ts
 * ```
 *
 * Two bays stand for two processes here, which meet over uds. It prints:
 *
 * ```text
 * shouted: open, closed
 * who comes late and asks for it hears: closed (retained)
 * who comes late and does not ask hears nothing yet
 * shouted: open
 * who asked hears: open (fresh)
 * who did not ask hears: open (fresh)
 * who was there first hears the first shout of a late speaker: ding (shout 1)
 * ```
 *
 * @module
 */
import { defineSpeaker, Patchbay } from "@patchbay/patchbay";

const State = defineSpeaker<string>({ address: "door/state", retain: true });
const Bell = defineSpeaker<string>({ address: "door/bell" });

await using door = await Patchbay.open({ module: "door" });
await using hall = await Patchbay.open({ module: "hall" });

await using state = await door.speaker(State);
state.shout("open");
state.shout("closed");
console.log("shouted: open, closed");

// Listeners that come when it was said already.
const asked = (await hall.listen(State, { retained: true })).events();
const plain = await hall.listen(State);
const first = (await asked.next()).value;
const how = (retained: boolean | undefined) => retained ? "retained" : "fresh";
console.log(
  `who comes late and asks for it hears: ${first?.value} (${how(first?.context.retained)})`,
);
console.log(`who comes late and does not ask hears ${plain.queued === 0 ? "nothing yet" : "all"}`);

state.shout("open");
console.log("shouted: open");
const next = (await asked.next()).value;
console.log(`who asked hears: ${next?.value} (${how(next?.context.retained)})`);
for await (const { value, context } of plain.events()) {
  console.log(`who did not ask hears: ${value} (${how(context.retained)})`);
  break;
}

// A listener that is there before its speaker: opening the speaker waits for it.
const bell = await hall.listen(Bell);
await using ringing = await door.speaker(Bell);
ringing.shout("ding");
for await (const { value, context } of bell.events()) {
  const { sequence } = context;
  console.log(
    `who was there first hears the first shout of a late speaker: ${value} (shout ${sequence})`,
  );
  break;
}
