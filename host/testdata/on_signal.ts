/**
 * A process with a bay that waits for a signal: `on_signal.ts <folder> <how>`.
 *
 * @module
 */

import { listenUnix, onShutdown, open, socketPath } from "@patchbay/host";

const [folder, how] = Deno.args;
const bay = await open({
  module: "waiter",
  runtimeDirectory: folder,
  discover: false,
  configFile: false,
});
const listener = await listenUnix({ path: socketPath(folder, "waiter"), onConnection: () => {} });

const first = { [Symbol.asyncDispose]: () => Promise.resolve(console.log("first")) };
const second = async () => {
  console.log("second");
  await listener.close();
};
if (how === "bay") onShutdown(() => listener.close(), { exitCode: "signal" });
if (how === "order") onShutdown([first, second]);
if (how === "throws") {
  onShutdown([first, () => Promise.reject(new Error("on purpose")), second], { exitCode: 7 });
}
if (how === "hangs") {
  onShutdown(() => {
    console.log("hanging");
    return new Promise(() => {});
  });
}
if (how === "closed") {
  await bay.close();
  await listener.close();
  console.log("closed");
}
// Without a timer nothing would keep the process alive but the listener.
if (how !== "closed") setInterval(() => {}, 1000);
console.log("ready");
