import assert from "node:assert/strict";
import { CodecTable } from "../codec.ts";
import type { Directory } from "../directory.ts";
import type { Link } from "../link.ts";
import { LINK_FIELDS, type LinkConfig } from "../link_plugin.ts";
import type { CallableEndpoint } from "../callable_endpoint.ts";
import { MemoryLink } from "../session/testing/memory_link.ts";
import { RawPeer, settled, Side, turn, until } from "../session/testing/rig.ts";
import { TransportStatistics } from "../statistics.ts";
import { TimerWheel } from "../timer_wheel.ts";
import { directoryTransport } from "./directory_transport.ts";

const EMPTY: Directory = {
  listening: () => Promise.resolve(),
  add: () => Promise.resolve(),
  remove: () => Promise.resolve(),
  others: [],
  refresh: () => Promise.resolve([]),
  watch: () => () => {},
  close: () => Promise.resolve(),
};

Deno.test("one peer too many is told so, and the others go on; after the loss of one there is room", async () => {
  const timers = new TimerWheel();
  const defaults = Object.fromEntries(
    Object.entries(LINK_FIELDS).map(([name, { default: value }]) => [name, value]),
  );
  const config = { ...defaults, codec: "json", maxConnections: 2 } as unknown as LinkConfig;
  const statistics = new TransportStatistics("memory");
  let accept: (link: Link) => void = () => {};
  const driver = {
    listen: (given: (link: Link) => void) => {
      accept = given;
      return Promise.resolve({ where: "here", close: () => Promise.resolve() });
    },
    dial: () => Promise.reject(new Error("nobody is dialled")),
  };
  const transport = directoryTransport(
    {
      name: "memory",
      identity: { id: "1", module: "small", instance: "small" },
      timers,
      codecs: new CodecTable(),
      directory: EMPTY,
      statistics,
      authorize: undefined,
      maxMessageBytes: 1000,
      routesChanged: () => {},
      report: () => {},
    },
    EMPTY,
    driver,
    config,
    undefined,
  );
  const endpoint: CallableEndpoint = new Side("small", timers).serve(
    "small/echo",
    (value) => value,
  );
  await transport.serve?.(endpoint);
  const dial = () => {
    const [mine, theirs] = MemoryLink.pair();
    accept(theirs);
    return new RawPeer(mine);
  };
  const first = [dial(), dial()];
  for (const peer of first) await peer.shakeHands();
  const third = dial();
  third.hello();
  await settled("the refusal", third.gone);
  assert.equal(third.goodbye?.code, "overloaded");
  assert.match(third.goodbye?.message ?? "", /2 peers are connected to small/);
  assert.equal(statistics.connections, 2);
  assert.equal(statistics.errors.get("overloaded"), 1);
  first[0].link.cut();
  await until("the loss to be seen", () => statistics.connections === 1);
  await dial().shakeHands();
  await settled("closing", transport.close());
  await settled("the end of the second", first[1].gone);
  assert.equal(first[1].goodbye?.code, "closed");
  await turn();
  timers.close();
});
