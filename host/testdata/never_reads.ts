/**
 * A bay whose peer asks and never reads: serves over a Unix socket with a queue of 8 MiB, and says
 * how much memory that took. Arguments: the socket's path.
 *
 * @module
 */

import { open, type Plugin } from "@patchbay/core";
import { directoryTransport, type LinkConfig, linkConfig } from "@patchbay/core";
import { listenUnix, StreamLink } from "@patchbay/host";

const path = Deno.args[0];
const nobody = {
  listening: () => Promise.resolve(),
  add: () => Promise.resolve(),
  remove: () => Promise.resolve(),
  others: [],
  refresh: () => Promise.resolve([]),
  watch: () => () => {},
  close: () => Promise.resolve(),
};

const plugin: Plugin<"flooded", { callable: true; speaker: true; job: true }, LinkConfig> = {
  name: "flooded",
  summary: "for a test",
  capabilities: { callable: true, speaker: true, job: true },
  scope: "host",
  rank: 1,
  traits: {
    ordered: true,
    delivery: "at_most_once",
    retained: true,
    headers: true,
    job: "native",
    maxPayloadBytes: 1 << 30,
    zeroCopy: false,
    values: false,
    backpressure: true,
    noticesDeath: true,
  },
  config: linkConfig,
  available: () => ({ available: true }),
  open: (context, config) => {
    const driver = {
      async listen(accept: (link: StreamLink) => void) {
        const listener = await listenUnix({
          path,
          onConnection: (connection) => accept(new StreamLink(connection)),
        });
        return { where: path, close: () => listener.close() };
      },
      dial: () => Promise.reject(new Error("nobody is dialled")),
    };
    return Promise.resolve(directoryTransport(context, nobody, driver, config, undefined));
  },
};

let peakBytes = 0;
const look = () => peakBytes = Math.max(peakBytes, Deno.memoryUsage().rss);
const bay = await open({
  plugins: [plugin],
  module: "flooded",
  config: { flooded: { maxQueueBytes: 8 * 1024 * 1024 } },
  directory: () => nobody,
});
await bay.serve("echo", (value) => value);
await bay.serve("large", () => new Uint8Array(100_000));
const sampling = setInterval(look, 5);
look();
console.log(JSON.stringify({ ready: peakBytes }));
// One line from the test: now tell.
await Deno.stdin.read(new Uint8Array(10));
look();
clearInterval(sampling);
const { transports } = bay.statistics.snapshot(Date.now());
console.log(JSON.stringify({ peakBytes, errors: transports[0].errors }));
await bay.close();
