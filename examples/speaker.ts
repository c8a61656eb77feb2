/**
 * Speaker: what one side shouts, every listener hears. With a callback, as an iterator, and by a
 * pattern that matches several speakers.
 *
 * ```sh
 * deno run examples/speaker.ts
 * ```
 *
 * It needs no permission, because both sides are in one process, and prints:
 *
 * ```text
 * 3 listeners
 * the callback heard 20.5 (shout 1)
 * the callback heard 21 (shout 2)
 * the callback heard 21.5 (shout 3)
 * the iterator heard 20.5
 * the iterator heard 21, and has had enough
 * the pattern sensor/* heard: temperature 20.5, temperature 21, temperature 21.5, humidity 40
 * ```
 *
 * @module
 */
import { defineSpeaker, Patchbay } from "@patchbay/patchbay";

const Temperature = defineSpeaker<number>({ address: "sensor/temperature" });
const Humidity = defineSpeaker<number>({ address: "sensor/humidity" });

await using bay = await Patchbay.open({ module: "sensor" });

// Listeners. When `listen` has resolved, what is shouted from then on is heard.
await using _callback = await bay.listen(Temperature, (celsius, { sequence }) => {
  console.log(`the callback heard ${celsius} (shout ${sequence})`);
});
await using iterator = await bay.listen(Temperature);
const everything: string[] = [];
await using _pattern = await bay.listen<number>("sensor/*", (value, { address }) => {
  everything.push(`${address.slice("sensor/".length)} ${value}`);
});

// Speakers. A shout waits for nobody, unless a listener asked for `overflow: "block"`.
await using temperature = await bay.speaker(Temperature);
await using humidity = await bay.speaker(Humidity);
console.log(`${temperature.listeners} listeners`);
temperature.shout(20.5);
temperature.shout(21);
temperature.shout(21.5);
humidity.shout(40);

// Leaving the loop closes the listener.
for await (const celsius of iterator) {
  const enough = celsius > 20.5;
  console.log(`the iterator heard ${celsius}${enough ? ", and has had enough" : ""}`);
  if (enough) break;
}
console.log(`the pattern sensor/* heard: ${everything.join(", ")}`);
