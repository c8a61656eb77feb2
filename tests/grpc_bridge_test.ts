/**
 * A bridge between gRPC and another wire: what a bay of another host tells of itself is there, with
 * how it came.
 *
 * @module
 */
import assert from "node:assert/strict";
import { open } from "@patchbay/core";
import grpc from "@patchbay/grpc";
import inProcess, { Room } from "@patchbay/in_process";

async function until(what: string, claim: () => boolean | Promise<boolean>): Promise<void> {
  const late = AbortSignal.timeout(20_000);
  while (!await claim()) {
    if (late.aborted) assert.fail(`never: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

Deno.test("bridge: calls, shouts and jobs of a bay that only gRPC reaches are used on another wire", async () => {
  const config = (...peers: string[]) => ({ grpc: { listen: { port: 0 }, peers } }) as const;
  const room = { in_process: { room: new Room() } };
  await using arm = await open({ module: "arm", plugins: [grpc], config: config() });
  await arm.serve("arm/echo", (value) => value, { sharing: "shared" });
  await arm.perform("arm/count", (n: number) => n + 1);
  const speaker = await arm.speaker<number>("arm/state", { retain: true });
  const { url } = arm.transport(grpc);
  await using joint = await open({
    module: "joint",
    plugins: [grpc, inProcess],
    config: { ...config(url), ...room },
  });
  const seen = (await joint.offers("grpc", "arm/**"))
    .map(({ pattern, address, shared, retain, bridged }) => (
      { pattern, address, shared, retain, bridged }
    ));
  assert.deepEqual(seen, [
    { pattern: "callable", address: "arm/echo", shared: true, retain: false, bridged: undefined },
    { pattern: "speaker", address: "arm/state", shared: false, retain: true, bridged: undefined },
    { pattern: "job", address: "arm/count", shared: false, retain: false, bridged: undefined },
  ]);
  assert.deepEqual(await joint.offers("grpc", "leg/**"), []);
  await using _bridge = await joint.bridge({ from: "grpc", to: "in_process" });
  await using desk = await open({ module: "desk", plugins: [inProcess], config: room });
  assert.equal(await desk.call("arm/echo", 7), 7);
  const heard = Promise.withResolvers<unknown>();
  await desk.listen("arm/state", heard.resolve);
  await speaker.shout(3);
  assert.equal(await heard.promise, 3);
  assert.equal(await (await desk.execute("arm/count", 3)).result, 4);
  // What comes later is bridged later, and the other way round it is told that it is.
  await arm.serve("arm/late", () => "late");
  await until(
    "it is bridged",
    () => desk.call("arm/late", 0).then((v) => v === "late", () => false),
  );
  await desk.serve("desk/echo", (value) => value);
  const { url: jointUrl } = joint.transport(grpc);
  await using panel = await open({ module: "panel", plugins: [grpc], config: config(jointUrl) });
  await until("it is there", () => panel.call("desk/echo", 5).then((v) => v === 5, () => false));
  const [{ bridged, by }] = await panel.offers("grpc", "desk/**");
  assert.deepEqual(bridged?.path, [by]);
});
