import assert from "node:assert/strict";
import { type Bay, Patchbay, PatchbayError } from "@patchbay/core";
import { pythonWith } from "../../tests/python.ts";
import { Backend } from "../../examples/grpc/backend.ts";
import grpc from "./mod.ts";

const PROTO = new URL("../../examples/grpc/arm.proto", import.meta.url);
const CLIENT = new URL("./testdata/python_client.py", import.meta.url).pathname;

async function openBay(config: Record<string, unknown>): Promise<Bay<[typeof grpc]>> {
  return await Patchbay.open({ module: "arm", plugins: [grpc], config: { grpc: config } });
}

const python = await pythonWith("grpc", "apt-get install python3-grpcio python3-protobuf");

interface Told {
  readonly [what: string]: unknown;
}

async function ask(...args: string[]): Promise<Told> {
  const output = await new Deno.Command(python.command, { args: [CLIENT, ...args] }).output();
  const errors = new TextDecoder().decode(output.stderr);
  assert.ok(output.success, errors);
  return JSON.parse(new TextDecoder().decode(output.stdout));
}

function portOf(bay: Bay<[typeof grpc]>): string {
  return bay.transport(grpc).url.replace("grpc://", "");
}

for (const version of ["v1", "v1alpha"]) {
  Deno.test({
    name: python.name(
      `reflection ${version}: Python learns every service from it, strictly, and calls one by what it learnt`,
    ),
    ignore: python.ignore,
    fn: async () => {
      await using bay = await openBay({ listen: { port: 0 } });
      await bay.transport(grpc).serveService({ proto: PROTO, handlers: new Backend() });
      await bay.serve("arm/double", (n: number) => n * 2);
      const told = await ask("reflect", portOf(bay), version);
      assert.deepEqual(told.services, [
        "example.arm.Arm",
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
        "patchbay.v1.Patchbay",
      ]);
      assert.deepEqual(told.optional, ["samples"]);
      assert.deepEqual(told.joints, ["shoulder", "elbow", "wrist"]);
      assert.equal(told.doubled, "42");
      assert.equal(told.unknown, 5);
    },
  });
}

Deno.test({
  name: python.name("health: Python's probe is told SERVING, and NOT_FOUND of what is not served"),
  ignore: python.ignore,
  fn: async () => {
    const bay = await openBay({ listen: { port: 0 } });
    const registration = await bay.transport(grpc).serveService({
      proto: PROTO,
      handlers: new Backend(),
    });
    const told = await ask("health", portOf(bay));
    assert.deepEqual(told, { "": 1, "example.arm.Arm": 1, "nobody": "NOT_FOUND" });
    await registration.close();
    assert.deepEqual(await ask("health", portOf(bay)), {
      "": 1,
      "example.arm.Arm": "NOT_FOUND",
      "nobody": "NOT_FOUND",
    });
    await bay.close();
  },
});

Deno.test({
  name: python.name(
    "faults: bytes that are no message, an unknown method, a message that is too large",
  ),
  ignore: python.ignore,
  fn: async () => {
    await using bay = await openBay({ listen: { port: 0 }, maxMessageBytes: 100_000 });
    await bay.serve("arm/echo", (value: unknown) => value);
    await bay.transport(grpc).serveService({ proto: PROTO, handlers: new Backend() });
    const told = await ask("faults", portOf(bay));
    assert.deepEqual(told, {
      garbage: "INVALID_ARGUMENT",
      service_garbage: "INVALID_ARGUMENT",
      bad_json: "INVALID_ARGUMENT",
      no_method: "UNIMPLEMENTED",
      no_service: "UNIMPLEMENTED",
      nobody: "NOT_FOUND",
      oversize: "RESOURCE_EXHAUSTED",
      after: '{"alive":true}',
    });
    const { transports } = bay.statistics.snapshot(Date.now());
    const counted = transports.find(({ name }) => name === "grpc");
    assert.match(JSON.stringify(counted), /"protocol":[1-9]/, "what was refused is counted");
  },
});

Deno.test("grpc: without reflection nothing is told", async () => {
  await using bay = await openBay({ listen: { port: 0 }, reflection: false });
  await bay.serve("arm/echo", (value: unknown) => value);
  const { ServiceClient, parseProto } = await import("./mod.ts");
  const proto = parseProto(`syntax = "proto3"; package grpc.reflection.v1;
    message M { string list_services = 7; }
    service ServerReflection { rpc ServerReflectionInfo(stream M) returns (stream M); }`);
  await using client = await ServiceClient.connect({ proto, target: bay.transport(grpc).url });
  const stream = client.streamMethod("ServerReflectionInfo", [{ list_services: "" }]);
  await assert.rejects(
    stream.next(),
    (error) => error instanceof PatchbayError && error.code === "not_found",
  );
});
