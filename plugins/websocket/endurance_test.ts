import assert from "node:assert/strict";
import { CuttingProxy, freePort } from "@patchbay/core/conformance";
import { HubProcess } from "./testdata/hub_process.ts";
import { JsonClient } from "./testdata/json_client.ts";
import { bay, counted, hubAt, settled, until } from "./testdata/places.ts";

for (const perMessageDeflate of [false, true]) {
  const kind = perMessageDeflate ? "npm:ws" : "our server";
  for (const wire of ["our library", "JSON"] as const) {
    Deno.test(`endurance: a client that does not read does not grow the hub (${kind}, ${wire})`, async () => {
      const port = freePort();
      // 400 MB of shouts.
      const hub = new HubProcess(port, 100_000, perMessageDeflate);
      assert.equal(await hub.says(), "ready");
      const proxy = new CuttingProxy(port);
      const url = `ws://127.0.0.1:${proxy.port}`;
      const deaf = wire === "JSON"
        ? await JsonClient.open(url)
        : await bay("deaf", { url, pingTimeoutMs: 120_000 });
      if (deaf instanceof JsonClient) {
        await deaf.ask({ type: "subscribe", id: 1, pattern: "hub/flood" }, "subscribe-ack");
      } else await deaf.listen("hub/flood", () => {});
      proxy.stall();
      await hub.tell("flood");
      const told = await hub.says() as { grownBytes: number; drops: Record<string, number> };
      assert.ok(told.drops.overflow_oldest > 90_000, `dropped: ${JSON.stringify(told.drops)}`);
      // 4 MiB wait by the listener's own bound; the rest is what V8 leaves lying about.
      assert.ok(told.grownBytes < 100 * 1024 * 1024, `grown by ${told.grownBytes} bytes`);
      proxy.cut();
      await hub.kill();
      if (deaf instanceof JsonClient) await settled("the end", deaf.closed);
      else await deaf.close();
      await proxy.close();
    });
  }

  Deno.test(`endurance: a JSON client that is half open is noticed (${kind})`, async () => {
    const pings = { pingIntervalMs: 100, pingTimeoutMs: 1000 };
    const { hub, url } = await hubAt({ ...pings, listen: { perMessageDeflate } });
    await using _ = hub;
    const proxy = new CuttingProxy(Number(new URL(url).port));
    await using idle = await JsonClient.open(url);
    const gone = await JsonClient.open(`ws://127.0.0.1:${proxy.port}`, { module: "gone" });
    const offer = { type: "register", id: 1, pattern: "callable", address: "gone/x" };
    await gone.ask(offer, "register-ack");
    proxy.stall();
    await until("it to be forgotten", () => counted(hub).connections === 1);
    // The other one said nothing either, but its library answers pings.
    const ask = { type: "request", id: 1, address: "gone/x" };
    const answer = await idle.ask(ask, "error");
    assert.equal((answer.error as { code: string }).code, "not_found");
    proxy.cut();
    await settled("the end", gone.closed);
    await proxy.close();
  });

  Deno.test(`endurance: frames that are no WebSocket's end that connection alone (${kind})`, async () => {
    const { hub, url } = await hubAt({ listen: { perMessageDeflate } });
    await using _ = hub;
    await hub.serve("hub/echo", (v) => v);
    await using client = await bay("client", { url });
    assert.equal(await client.call("hub/echo", 0), 0);
    const { port } = new URL(url);
    const request = [
      "GET / HTTP/1.1",
      `Host: 127.0.0.1:${port}`,
      "Connection: Upgrade",
      "Upgrade: websocket",
      "Sec-WebSocket-Version: 13",
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
      "Sec-WebSocket-Protocol: patchbay.json.v1",
      "",
      "",
    ].join("\r\n");
    const bad = [
      [0xf2, 0x80, 0, 0, 0, 0], // reserved bits
      [0x81, 0x01, 0x41], // not masked
      [0x83, 0x80, 0, 0, 0, 0], // an unknown operation
      [0x81, 0x81, 0, 0, 0, 0, 0xff], // no UTF-8
      [0x89, 0xfe, 0x01, 0x00, 0, 0, 0, 0], // a ping of 256 bytes
      [0x81, 0xff, 0, 0, 0, 0xff, 0, 0, 0, 0, 0, 0, 0, 0], // a terabyte to come
      [0x80, 0x80, 0, 0, 0, 0], // the end of nothing
    ];
    for (const bytes of bad) {
      const conn = await Deno.connect({ hostname: "127.0.0.1", port: Number(port) });
      await conn.write(new TextEncoder().encode(request));
      const buffer = new Uint8Array(4096);
      const read = await settled("the upgrade", conn.read(buffer));
      assert.match(new TextDecoder().decode(buffer.subarray(0, read ?? 0)), /^HTTP\/1\.1 101/);
      await conn.write(new Uint8Array(bytes));
      while (await settled(`the end after ${bytes}`, conn.read(buffer).catch(() => null)) !== null);
      conn.close();
    }
    await until("all to be forgotten", () => counted(hub).connections === 1);
    assert.equal(await client.call("hub/echo", 1), 1);
  });
}
