/**
 * Holds what the documents claim and no other test holds: security, what keeps a process alive,
 * the import map of a clone.
 *
 * @module
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import {
  encodeControl,
  encodeHello,
  HEADER_BYTES,
  Kind,
  writeHeader,
} from "@patchbay/core/envelope";
import { type OpenOptions, Patchbay, PatchbayError } from "@patchbay/patchbay";
import { quickStart } from "../tools/markdown_blocks.ts";
import { PROJECT_ROOT } from "../tools/workspace.ts";

const WINDOWS = Deno.build.os === "windows";

/** A runtime directory of its own, and bays in it. */
class Place implements AsyncDisposable {
  readonly folder: string = Deno.makeTempDirSync({ prefix: "pb-" });
  readonly path: string = `${this.folder}/run`;
  readonly #stack = new AsyncDisposableStack();

  async bay(module: string, options: Partial<OpenOptions> = {}) {
    return this.#stack.use(
      await Patchbay.open({
        module,
        runtimeDirectory: this.path,
        configFile: false,
        discover: false,
        handleSignals: false,
        ...options,
      }),
    );
  }

  /** Connects to a bay as a program of its own making. */
  dial(module: string): Promise<Deno.UnixConn> {
    return Deno.connect({ transport: "unix", path: `${this.path}/${module}.sock` });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
    await Deno.remove(this.folder, { recursive: true });
  }
}

/** Reads until the other side closes. */
async function untilClosed(connection: Deno.UnixConn): Promise<void> {
  const buffer = new Uint8Array(65_536);
  try {
    while (await connection.read(buffer) !== null);
  } catch {
    // A reset is a way to close, too.
  }
  connection.close();
}

function frame(kind: number, id: number, route: number, body: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(4 + HEADER_BYTES + body.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, HEADER_BYTES + body.length, true);
  writeHeader(view, 4, kind, 0, 0, 128, 0, id, route, 30_000);
  bytes.set(body, 4 + HEADER_BYTES);
  return bytes;
}

const HELLO = frame(
  Kind.hello,
  0,
  0,
  encodeHello({
    versions: [1, 1],
    bay: { id: "e".repeat(16), module: "greedy", instance: "greedy" },
    codecs: ["json"],
    compression: [],
    maxMessageBytes: 2 ** 20,
    windowBytes: 65_536,
    capabilities: ["callable"],
    metadata: {},
  }),
);

const claim = (name: string, fn: () => Promise<void>) =>
  Deno.test({ name: `claim: ${name}`, ignore: WINDOWS, fn });

claim(
  "authorize is asked once for each connection, verb and address; of a listener its pattern",
  async () => {
    await using place = new Place();
    const asked: string[] = [];
    const arm = await place.bay("arm", {
      authorize: (peer, verb, address) => {
        asked.push(`${peer.module} ${verb} ${address} ${peer.identity}`);
        return address !== "arm/**" && address !== "arm/dig";
      },
    });
    await arm.serve("arm/move", () => 1);
    await arm.perform("arm/dig", () => 1);
    await using _speaker = await arm.speaker("arm/pose");
    const desk = await place.bay("desk");
    const forbidden = (error: unknown) =>
      error instanceof PatchbayError && error.code === "forbidden";

    for (let n = 0; n < 3; n++) assert.equal(await desk.call("arm/move", n), 1);
    for (let n = 0; n < 2; n++) await assert.rejects(desk.execute("arm/dig", n), forbidden);
    await assert.rejects(desk.listen("arm/**", () => {}), forbidden);
    await using _listener = await desk.listen("arm/pose", () => {});
    // Once for each connection: another bay has another.
    assert.equal(await (await place.bay("guest")).call("arm/move", 1), 1);
    assert.deepEqual(asked, [
      "desk call arm/move undefined",
      "desk execute arm/dig undefined",
      "desk listen arm/** undefined",
      "desk listen arm/pose undefined",
      "guest call arm/move undefined",
    ]);
  },
);

claim("in_process does not ask authorize", async () => {
  await using place = new Place();
  const desk = await place.bay("desk", { authorize: () => assert.fail("asked") });
  await desk.serve("desk/greet", () => "hello");
  assert.equal(await desk.call("desk/greet", 1, { via: ["in_process"] }), "hello");
});

claim("a connection that says nothing is closed after connectTimeoutMs", async () => {
  await using place = new Place();
  const desk = await place.bay("desk", {
    config: { uds: { connectTimeoutMs: 50 } },
    onReport: () => {},
  });
  await desk.serve("desk/greet", () => "hello");
  await untilClosed(await place.dial("desk"));
});

claim("one connection more than maxConnections is closed", async () => {
  await using place = new Place();
  const desk = await place.bay("desk", {
    config: { uds: { maxConnections: 1 } },
    onReport: () => {},
  });
  await desk.serve("desk/greet", () => "hello");
  const first = await place.dial("desk");
  await untilClosed(await place.dial("desk"));
  first.close();
});

claim("who does not read its answers loses its connection at maxQueueBytes", async () => {
  await using place = new Place();
  const reported = Promise.withResolvers<PatchbayError>();
  const desk = await place.bay("desk", {
    config: { uds: { maxQueueBytes: 128 * 1024 } },
    onReport: reported.resolve,
  });
  const answer = "x".repeat(60_000);
  await desk.serve("desk/much", () => answer);
  const greedy = await place.dial("desk");
  const send = async (bytes: Uint8Array) => {
    for (let at = 0; at < bytes.length;) at += await greedy.write(bytes.subarray(at));
  };
  await send(HELLO);
  // The hello-ack is read: what is sent before it is not.
  await greedy.read(new Uint8Array(4096));
  await send(frame(Kind.route, 0, 0, encodeControl({ address: "desk/much" })));
  for (let id = 1; id <= 100; id++) {
    await send(frame(Kind.request, id, 0, new TextEncoder().encode("1")));
  }
  assert.equal((await reported.promise).code, "overloaded");
  await untilClosed(greedy);
  assert.equal(await desk.call("desk/much", 1), answer);
});

/** Runs a program of its own in a folder. */
function run(file: string, args: string[] = [], config = join(PROJECT_ROOT, "deno.json")) {
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--config", config, file, ...args],
    env: { NO_COLOR: "1" },
    stdin: "null",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
}

claim("a bay that serves over uds keeps its process alive until it is told to stop", async () => {
  await using place = new Place();
  const file = `${place.folder}/program.ts`;
  await Deno.writeTextFile(
    file,
    `import { Patchbay } from "@patchbay/patchbay";
    const bay = await Patchbay.open({ module: "arm", runtimeDirectory: "${place.path}" });
    await bay.serve("arm/move", () => 1);
    console.log("the main module is done");`,
  );
  const program = run(file);
  const lines = program.stdout.getReader();
  await lines.read();
  assert.equal(await (await place.bay("desk")).call("arm/move", 1), 1);
  program.kill("SIGTERM");
  assert.equal((await program.status).code, 143);
  await lines.cancel();
  assert.deepEqual([...Deno.readDirSync(place.path)].filter(({ name }) => /^arm\./.test(name)), []);
});

claim("a bay that listens waits for speakers that come later, until it is closed", async () => {
  await using place = new Place();
  const file = `${place.folder}/program.ts`;
  await Deno.writeTextFile(
    file,
    `import { Patchbay } from "@patchbay/patchbay";
    const bay = await Patchbay.open({ module: "ear", runtimeDirectory: "${place.path}" });
    await bay.listen("arm/**", async () => { console.log("heard"); await bay.close(); });
    console.log("the main module is done");`,
  );
  const program = run(file);
  const lines = program.stdout.getReader();
  await lines.read();
  const speaker = await (await place.bay("arm")).speaker("arm/pose");
  await speaker.shout(1);
  // The listener closes its bay, and nothing else keeps the process.
  assert.equal((await program.status).code, 0);
  await lines.cancel();
});

claim("a bay that only calls keeps no process alive", async () => {
  await using place = new Place();
  const file = `${place.folder}/program.ts`;
  await Deno.writeTextFile(
    file,
    `import { Patchbay } from "@patchbay/patchbay";
    const bay = await Patchbay.open({ module: "ear", runtimeDirectory: "${place.path}" });
    await bay.call("arm/move", 1).catch(() => {});`,
  );
  const { code } = await run(file).output();
  assert.equal(code, 0);
});

Deno.test("claim: the quick start runs in a project whose import map names a clone", async () => {
  const readme = await Deno.readTextFile(join(PROJECT_ROOT, "README.md"));
  const program = quickStart(readme);
  const map = /^```json\n([^]*?)^```/m.exec(readme)?.[1];
  assert.ok(program !== undefined && map !== undefined, "README.md has both");
  const folder = await Deno.makeTempDir({ prefix: "pb-" });
  try {
    const config = join(folder, "deno.json");
    assert.match(map, /"\.\.\/patchbay\//);
    await Deno.writeTextFile(config, map.replaceAll("../patchbay", PROJECT_ROOT));
    await Deno.writeTextFile(join(folder, "main.ts"), program);
    const { code, stdout } = await run(join(folder, "main.ts"), [], config).output();
    const printed = new TextDecoder().decode(stdout);
    assert.equal(code, 0, printed);
    assert.match(printed, /2 \+ 3 = 5\nit is 21.5 °C\nat 1\nat 2\nat 3\ncounted\n/);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
