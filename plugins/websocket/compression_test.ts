import assert from "node:assert/strict";
import type { Bay } from "@patchbay/core";
import { bay, hubAt } from "./testdata/places.ts";
import { CuttingProxy } from "@patchbay/core/conformance";

const SIZE = 400_000;
const compressible = () => ({ text: "the same again and again; ".repeat(SIZE / 26) });
const incompressible = () => {
  const bytes = new Uint8Array(SIZE);
  for (let at = 0; at < SIZE; at += 65_536) {
    crypto.getRandomValues(bytes.subarray(at, Math.min(SIZE, at + 65_536)));
  }
  return bytes;
};

/** Bytes on the wire, both ways, for one echo. */
async function onWire(proxy: CuttingProxy, client: Bay, value: unknown): Promise<number> {
  const before = proxy.bytes;
  assert.deepEqual(await client.call("hub/echo", value), value);
  return proxy.bytes - before;
}

for (
  const [name, config] of [
    ["the session's deflate", { compression: "deflate" }],
    ["permessage-deflate", { perMessageDeflate: true }],
  ] as const
) {
  Deno.test(`compression: ${name} makes large messages small, and leaves small ones`, async () => {
    const settings = { ...config, compressionThreshold: 10_000 };
    const { hub, url } = await hubAt(settings);
    await using _ = hub;
    await hub.serve("hub/echo", (v) => v);
    const proxy = new CuttingProxy(Number(new URL(url).port));
    const through = `ws://127.0.0.1:${proxy.port}`;
    {
      await using client = await bay("client", { ...settings, url: through });
      await client.call("hub/echo", 0);
      assert.ok(await onWire(proxy, client, compressible()) < SIZE / 5);
      assert.ok(await onWire(proxy, client, incompressible()) > 2 * SIZE);
      const small = "x".repeat(5000);
      assert.ok(await onWire(proxy, client, small) > 2 * small.length);
      // What is relayed is compressed on each way that has agreed on it.
      await client.serve("client/echo", (v) => v);
      await using plain = await bay("plain", { url });
      assert.deepEqual(await plain.call("client/echo", compressible()), compressible());
    }
    {
      await using plain = await bay("plain", { url: through });
      await plain.call("hub/echo", 0);
      assert.ok(await onWire(proxy, plain, compressible()) > 2 * SIZE, "it was not agreed on");
    }
    await proxy.close();
  });
}
