/**
 * A directory on a disk that fills up; who starts this has mounted a small one there:
 * `crowded.ts <folder>`. Prints one line of JSON: what came of each attempt.
 *
 * @module
 */

import { PatchbayError, type StatisticsSnapshot } from "@patchbay/core";
import { HostDirectory, listModules, open, statisticsOf } from "@patchbay/host";
import { fakePlugin, identity, until } from "./support.ts";

const [folder] = Deno.args;
const server = (address: string) => ({
  pattern: "callable" as const,
  role: "server" as const,
  address,
  wires: ["uds"],
});
const told = async (work: Promise<unknown>) =>
  await work.then(() => "ok", (error) => {
    const { code, message, remedy } = PatchbayError.fromThrown(error);
    return { code, message, remedy };
  });
const seen = async () => {
  const [arm] = (await listModules(folder)).filter(({ module }) => module === "arm");
  return arm.endpoints.map(({ address }) => address);
};
const names = () => [...Deno.readDirSync(folder)].map(({ name }) => name).sort();

/** Takes what is left of the disk. */
function fill(): void {
  using file = Deno.openSync(`${folder}/ballast`, { create: true, append: true });
  try {
    for (;;) file.writeSync(new Uint8Array(4096));
  } catch (error) {
    if (!/No space left/.test(String(error))) throw error;
  }
}

const arm = await HostDirectory.open(identity("arm"), { path: folder });
let taken = 0;
let asked = 0;
arm.publishStatistics((): StatisticsSnapshot => {
  asked++;
  return {
    takenAtMs: Date.now(),
    transports: [],
    endpoints: new Array(taken).fill({}) as StatisticsSnapshot["endpoints"],
  };
});
const before = await told(arm.add(server("arm/move")));
taken = 1;
await until(
  "counters are published",
  async () => (await statisticsOf("arm", folder))?.endpoints.length === 1,
);
fill();
const full = await told(arm.add(server("arm/stop")));
const seenFull = await seen();
taken = 2;
const askedBefore = asked;
await until("it has tried to publish", () => asked > askedBefore + 1);
const counted = (await statisticsOf("arm", folder))?.endpoints.length;
const second = await told(HostDirectory.open(identity("desk"), { path: folder }));
const bay = await told(open({
  module: "lamp",
  runtimeDirectory: folder,
  discover: false,
  builtins: [fakePlugin("needy")],
}));
const namesFull = names();
Deno.removeSync(`${folder}/ballast`);
const after = await told(arm.add(server("arm/stop")));
const seenAfter = await seen();
await until(
  "counters are published again",
  async () => (await statisticsOf("arm", folder))?.endpoints.length === 2,
);
await arm.close();
console.log(
  JSON.stringify({
    before,
    full,
    seenFull,
    counted,
    second,
    bay,
    namesFull,
    after,
    seenAfter,
    namesAfter: names(),
  }),
);
