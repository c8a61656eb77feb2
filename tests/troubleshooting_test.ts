/**
 * Holds `docs/troubleshooting.md` to the truth: provokes every error it documents, for real, and
 * compares code, message and remedy with its tables. A row that nothing provokes fails, and so does
 * a provoked error that has no row.
 *
 * @module
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { ERROR_CODES, type Plugin } from "@patchbay/core";
import { encodeHello, HEADER_BYTES, Kind, writeHeader } from "@patchbay/core/envelope";
import {
  defineCallable,
  defineSpeaker,
  type OpenOptions,
  Patchbay,
  PatchbayError,
} from "@patchbay/patchbay";
import { freePort } from "@patchbay/core/conformance";
import { SharedMemory } from "@patchbay/ffi";
import { openRuntimeDir } from "@patchbay/host";
import grpc, { parseProto, ServiceClient } from "@patchbay/grpc";
import mqtt from "@patchbay/mqtt";
import redis from "@patchbay/redis";
import ros2 from "@patchbay/ros2";
import uds from "@patchbay/uds";
import { z } from "zod";
import { OwnDomain } from "../plugins/ros2/fixture.ts";
import { PROJECT_ROOT } from "../tools/workspace.ts";

// ----- the document -----

/** One row of the document. `…` stands for anything. */
interface Row {
  code: string;
  message: string;
  /** Undefined where the document says that there is none. */
  remedy: string | undefined;
}

const DOCUMENT = await Deno.readTextFile(join(PROJECT_ROOT, "docs/troubleshooting.md"));

/** The rows of the tables below the headings that are error codes. */
function rowsOf(document: string): Row[] {
  const rows: Row[] = [];
  let code = "";
  for (const line of document.split("\n")) {
    const heading = /^#+ `?([^`]*)`?$/.exec(line);
    if (heading !== null) code = heading[1];
    const cells = /^\| (`+) ?(.+?) ?\1 +\| (?:(`+) ?(.+?) ?\3|none) +\|/.exec(line);
    if (cells !== null && (ERROR_CODES as readonly string[]).includes(code)) {
      rows.push({ code, message: cells[2], remedy: cells[4] });
    }
  }
  return rows;
}

const ROWS = rowsOf(DOCUMENT);

function fits(pattern: string | undefined, text: string | undefined): boolean {
  if (pattern === undefined || text === undefined) return pattern === text;
  const parts = pattern.split("…").map((part) => part.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&"));
  return new RegExp(`^${parts.join("[^]*")}$`).test(text);
}

const met = new Set<Row>();

/** Compares an error with the document. */
function documented(error: unknown): void {
  assert.ok(error instanceof PatchbayError, `not a PatchbayError: ${error}`);
  const row = ROWS.find((row) =>
    row.code === error.code && fits(row.message, error.message) && fits(row.remedy, error.remedy)
  );
  const { code, message, remedy } = error;
  assert.ok(
    row !== undefined,
    `docs/troubleshooting.md has no row for\n| \`${message}\` | ${
      remedy === undefined ? "none" : `\`${remedy}\``
    } | under ${code}`,
  );
  met.add(row);
}

// ----- what the provocations share -----

/** What something rejects with. */
async function failure(work: Promise<unknown> | (() => unknown)): Promise<unknown> {
  try {
    await (typeof work === "function" ? work() : work);
  } catch (error) {
    return error;
  }
  assert.fail("it did not fail");
}

/** A runtime directory of its own, and bays in it. */
class Place implements AsyncDisposable {
  readonly folder: string = Deno.makeTempDirSync({ prefix: "pb-" });
  readonly path: string = `${this.folder}/run`;
  readonly #stack = new AsyncDisposableStack();

  /** Keeps something until the place is left. */
  use<T extends Disposable>(value: T): T {
    return this.#stack.use(value);
  }

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

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
    await Deno.remove(this.folder, { recursive: true });
  }
}

/** Runs a program of its own in the place, with the flags given. */
async function child(place: Place, flags: string[], program: string) {
  const file = join(place.folder, "program.ts");
  await Deno.writeTextFile(file, program);
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-prompt", "--config", join(PROJECT_ROOT, "deno.json"), ...flags, file],
    env: { NO_COLOR: "1" },
    stdin: "null",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
}

/** What a program of its own prints as its error. */
async function failureOfChild(flags: string[], program: (place: Place) => string) {
  await using place = new Place();
  const { stdout } = await (await child(place, flags, program(place))).output();
  const wire = JSON.parse(new TextDecoder().decode(stdout));
  return PatchbayError.fromWire(wire);
}

const PRINT = `(error) => console.log(JSON.stringify(error.toWire()))`;

/** What a bay reports when strange bytes are written to its socket. */
async function reported(bytes: Uint8Array): Promise<unknown> {
  await using place = new Place();
  const { promise, resolve } = Promise.withResolvers<unknown>();
  const bay = await place.bay("desk", { onReport: resolve });
  await bay.serve("desk/greet", () => "hello");
  const connection = await Deno.connect({ transport: "unix", path: `${place.path}/desk.sock` });
  await connection.write(bytes);
  const error = await promise;
  connection.close();
  return error;
}

/** A hello frame with its length before it. */
function helloFrame(body: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(4 + HEADER_BYTES + body.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, HEADER_BYTES + body.length, true);
  writeHeader(view, 4, Kind.hello, 0, 0, 255, 0, 0, 0, 0);
  bytes.set(body, 4 + HEADER_BYTES);
  return bytes;
}

/** What a call to an address fails with; a bad address is thrown at once. */
function failAt(bay: Awaited<ReturnType<Place["bay"]>>, address: string): Promise<unknown> {
  return failure(() => bay.call(address, 1));
}

const never = (_: unknown, { signal }: { signal: AbortSignal }) =>
  new Promise<string>((resolve) => signal.addEventListener("abort", () => resolve("")));

const NAMER = parseProto(`syntax = "proto3"; package demo;
  message Names { repeated string names = 1; }
  service Namer { rpc Name(Names) returns (Names); }`);

/** What a call of a service of a .proto fails with. */
async function withNamer(
  place: Place,
  call: (client: ServiceClient) => Promise<unknown>,
): Promise<unknown> {
  const arm = await place.bay("arm", { plugins: [grpc] });
  const handlers = { Name: (names: { names: string[] }) => names };
  await arm.transport(grpc).serveService({ proto: NAMER, handlers });
  const options = { proto: NAMER, module: "arm", runtimeDirectory: place.path };
  await using client = await ServiceClient.connect(options);
  return await failure(call(client));
}

/** Options of bays that meet in a ROS domain of their own. */
function rosOptions(place: Place) {
  const domain = place.use(new OwnDomain()).number;
  const config = { ros2: { domain, range: "localhost", json: true } } as const;
  return { plugins: [ros2], config };
}

/** A plugin that says it has calls, and has none. */
const odd: Plugin = {
  ...uds,
  name: "odd",
  capabilities: { callable: true, speaker: false, job: false },
  config: { "~standard": { version: 1, vendor: "test", validate: (value) => ({ value }) } },
  permissions: undefined,
  available: () => ({ available: true }),
  open: () =>
    Promise.resolve({
      extras: undefined,
      health: () => ({ status: "healthy" }),
      find: () => ({ found: true }),
      close: () => Promise.resolve(),
    }),
};

// ----- the provocations -----

const PROVOCATIONS: Record<string, (place: Place) => Promise<unknown>> = {
  "unavailable: the instance name is taken": async (place) => {
    await place.bay("arm");
    return await failure(place.bay("arm"));
  },
  "unavailable: another module serves the address": async (place) => {
    const [arm, twin] = [await place.bay("arm"), await place.bay("twin")];
    await arm.serve("arm/move", () => 1);
    return await failure(twin.serve("arm/move", () => 2));
  },
  "unavailable: this bay serves the address already": async (place) => {
    const arm = await place.bay("arm");
    await arm.serve("arm/move", () => 1);
    return await failure(arm.serve("arm/move", () => 2));
  },
  "unavailable: no wire can be used": async (place) => {
    const desk = await place.bay("desk", { runtimeDirectory: false });
    return await failure(desk.call("arm/move", 1, { via: ["uds"] }));
  },
  "unavailable: somebody listens on the socket": async (place) => {
    const desk = await place.bay("desk");
    using _listener = Deno.listen({ transport: "unix", path: `${place.path}/desk.sock` });
    return await failure(desk.serve("desk/greet", () => "hello"));
  },
  "unavailable: something that is no socket is in the way": async (place) => {
    const desk = await place.bay("desk");
    await Deno.writeTextFile(`${place.path}/desk.sock`, "");
    return await failure(desk.serve("desk/greet", () => "hello"));
  },
  "unavailable: a plugin is broken": async (place) => {
    await Deno.mkdir(`${place.folder}/plugins/mine`, { recursive: true });
    await Deno.writeTextFile(`${place.folder}/plugins/mine/mod.ts`, "export default {};");
    const errors: unknown[] = [];
    await place.bay("desk", {
      discover: true,
      pluginDirectories: [`${place.folder}/plugins`],
      onReport: (error) => void errors.push(error),
    });
    return errors[0];
  },
  "unavailable: no permission for the runtime directory": () =>
    failureOfChild(["--allow-sys=uid"], (place) =>
      `import { Patchbay } from "@patchbay/patchbay";
      const bay = await Patchbay.open({ module: "desk", runtimeDirectory: "${place.path}" });
      await bay.call("arm/move", 1, { via: ["uds"] }).catch(${PRINT});
      await bay.close();`),
  "unavailable: the runtime directory cannot be named": () =>
    failureOfChild([], () =>
      `import { Patchbay } from "@patchbay/patchbay";
      const bay = await Patchbay.open({ module: "desk" });
      await bay.call("arm/move", 1, { via: ["uds"] }).catch(${PRINT});
      await bay.close();`),
  "unavailable: no permission for the socket": async () => {
    await using place = new Place();
    const flags = [`--allow-read=${place.path}`, `--allow-write=${place.path}`, "--allow-sys=uid"];
    const run = await child(
      place,
      flags,
      `import { Patchbay } from "@patchbay/patchbay";
      const bay = await Patchbay.open({ module: "desk", runtimeDirectory: "${place.path}" });
      await bay.serve("desk/greet", () => 1, { via: ["uds"] }).catch(${PRINT});
      await bay.close();`,
    );
    const { stdout } = await run.output();
    return PatchbayError.fromWire(JSON.parse(new TextDecoder().decode(stdout)));
  },

  "unavailable: no Redis server runs there": async (place) => {
    const config = { redis: { port: freePort() } };
    const desk = await place.bay("desk", { plugins: [redis], config });
    return await failure(desk.call("arm/move", 1, { via: ["redis"] }));
  },
  "unavailable: no MQTT broker runs there": async (place) => {
    const config = { mqtt: { port: freePort() } };
    const desk = await place.bay("desk", { plugins: [mqtt], config });
    return await failure(desk.call("arm/move", 1, { via: ["mqtt"] }));
  },
  "unavailable: grpc: nobody listens there": (place) =>
    failure(ServiceClient.connect({
      proto: NAMER,
      target: `unix:${place.folder}/arm.grpc.sock`,
      timeoutMs: 500,
    })),
  "not_found: grpc: no such method": (place) =>
    withNamer(place, (client) => client.callMethod("Nmae", {})),
  "invalid: grpc: a wrong message": (place) =>
    withNamer(place, (client) => client.callMethod("Name", { nmaes: [] })),
  "unavailable: no permission for FFI": () =>
    failureOfChild(
      ["--allow-sys=uid", "--allow-read", "--allow-write"],
      (place) =>
        `import { Patchbay } from "@patchbay/patchbay";
      import sharedMemory from "@patchbay/shared_memory";
      const bay = await Patchbay.open({
        module: "desk",
        runtimeDirectory: "${place.path}",
        plugins: [sharedMemory],
        discover: false,
      });
      await bay.call("arm/move", 1, { via: ["shared_memory"] }).catch(${PRINT});
      await bay.close();`,
    ),
  "unavailable: no shared memory is left": () =>
    failure(() => SharedMemory.create(`/pbt-${Deno.pid}-full`, 2 ** 45)),

  "not_found: nobody serves the address": async (place) => {
    return await failure((await place.bay("desk")).call("arm/move", 1));
  },
  "not_found: the configuration file": (place) =>
    failure(place.bay("desk", { configFile: `${place.folder}/none.json` })),

  "closed: the bay is closed": async (place) => {
    const desk = await place.bay("desk");
    await desk.close();
    return await failure(desk.call("arm/move", 1));
  },
  "closed: the bay closes while a call is pending": async (place) => {
    const [arm, desk] = [await place.bay("arm"), await place.bay("desk")];
    const entered = Promise.withResolvers<void>();
    await arm.serve("arm/move", (request, context) => {
      entered.resolve();
      return never(request, context);
    });
    const pending = failure(desk.call("arm/move", 1, { timeoutMs: 30_000 }));
    await entered.promise;
    await desk.close();
    return await pending;
  },
  "closed: the server is killed while a call is pending": async (place) => {
    const desk = await place.bay("desk");
    const arm = await child(
      place,
      ["-A"],
      `import { Patchbay } from "@patchbay/patchbay";
      const bay = await Patchbay.open({ module: "arm", runtimeDirectory: "${place.path}" });
      await bay.serve("arm/move", () => new Promise(() => console.log("entered")));
      console.log("ready");`,
    );
    const lines = arm.stdout.getReader();
    await lines.read();
    const pending = failure(desk.call("arm/move", 1, { timeoutMs: 30_000 }));
    await lines.read();
    arm.kill("SIGKILL");
    await arm.status;
    await lines.cancel();
    return await pending;
  },
  "closed: the speaker is closed": async (place) => {
    const speaker = await (await place.bay("desk")).speaker("desk/news");
    await speaker.close();
    return await failure(() => speaker.shout(1));
  },

  "deadline_exceeded: a call": async (place) => {
    const desk = await place.bay("desk");
    await desk.serve("desk/slow", never);
    return await failure(desk.call("desk/slow", 1, { timeoutMs: 10 }));
  },
  "deadline_exceeded: a job without feedback": async (place) => {
    const desk = await place.bay("desk");
    await desk.perform("desk/dig", never);
    const job = await desk.execute("desk/dig", 1, { timeoutMs: 10 });
    return await failure(job.result);
  },
  "deadline_exceeded: a goal that nobody decides on": async (place) => {
    const desk = await place.bay("desk");
    const decided = Promise.withResolvers<boolean>();
    await desk.perform("desk/dig", () => 1, { accept: () => decided.promise });
    const error = await failure(desk.execute("desk/dig", 1, { timeoutMs: 10 }));
    decided.resolve(false);
    return error;
  },

  "too_large: a message": async (place) => {
    const [arm, desk] = [
      await place.bay("arm", { maxMessageBytes: 1000 }),
      await place.bay("desk"),
    ];
    await arm.serve("arm/move", () => 1);
    return await failure(desk.call("arm/move", "x".repeat(2000)));
  },
  "too_large: headers": async (place) => {
    const [arm, desk] = [await place.bay("arm"), await place.bay("desk")];
    await arm.serve("arm/move", () => 1);
    return await failure(desk.call("arm/move", 1, { headers: { note: "x".repeat(9000) } }));
  },

  "invalid: a value that its schema refuses": async (place) => {
    const Heat = defineCallable({
      address: "oven/heat",
      request: z.object({ celsius: z.number().max(300) }),
    });
    const oven = await place.bay("oven");
    await oven.serve(Heat, () => {});
    return await failure(oven.call(Heat, { celsius: 1000 }));
  },
  "invalid: a value that no wire carries": async (place) => {
    const [arm, desk] = [await place.bay("arm"), await place.bay("desk")];
    await arm.serve("arm/move", () => 1);
    return await failure(desk.call("arm/move", { at: new Date() }));
  },
  "invalid: an address": async (place) => failAt(await place.bay("desk"), "Arm/Move"),
  "invalid: a wildcard where one address is meant": async (place) =>
    failAt(await place.bay("desk"), "arm/*"),
  "invalid: a misspelt wire in via": async (place) =>
    failure((await place.bay("desk")).call("arm/move", 1, { via: ["ud"] })),
  "invalid: an unknown option": (place) =>
    failure(place.bay("desk", { modul: "desk" } as Partial<OpenOptions>)),
  "invalid: an unknown option without a likely one": (place) =>
    failure(place.bay("desk", { zzzzzzzz: 1 } as Partial<OpenOptions>)),
  "invalid: an unknown key of a wire": (place) =>
    // @ts-expect-error: where the plugin is known by type, the type check finds it before
    failure(place.bay("desk", { config: { uds: { codecs: "json" } } })),
  "invalid: the configuration of an unknown wire": (place) =>
    failure(place.bay("desk", { config: { udp: {} } })),
  "invalid: an unknown key of the configuration file": async (place) => {
    const path = `${place.folder}/patchbay.json`;
    await Deno.writeTextFile(path, `{ "modul": "desk" }`);
    return await failure(place.bay("desk", { configFile: path }));
  },
  "invalid: a module name": (place) => failure(place.bay("My Desk")),
  "invalid: an unknown option of a contract": () =>
    failure(() => defineCallable({ address: "a/b", retain: true } as { address: string })),
  "invalid: two consumers of one listener": async (place) => {
    const listener = await (await place.bay("desk")).listen("desk/news");
    const [one, two] = [listener.events(), listener.events()];
    const first = one.next();
    const error = await failure(two.next());
    await listener.close();
    await first;
    return error;
  },
  "invalid: a value that sends something while it is sent": async (place) => {
    const via = ["uds"] as const;
    const speaker = await (await place.bay("arm")).speaker<unknown>("arm/news", { via });
    await (await place.bay("desk")).listen("arm/news", () => {}, { via });
    const value = {
      get nested() {
        speaker.shout(1);
        return 2;
      },
    };
    return await failure(() => speaker.shout(value));
  },
  "invalid: a socket path that is too long": async (place) => {
    const path = `${place.folder}/${"x".repeat(120)}`;
    const desk = await place.bay("desk", { runtimeDirectory: path });
    return await failure(desk.serve("desk/greet", () => 1));
  },

  "protocol: another protocol": () =>
    reported(new TextEncoder().encode("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")),
  "protocol: a frame that is no hello": () => {
    const bytes = helloFrame(new Uint8Array(10));
    bytes[4] = Kind.request;
    return reported(bytes);
  },
  "protocol: a hello without magic": () => reported(helloFrame(new Uint8Array(10))),
  "protocol: another version": () =>
    reported(helloFrame(encodeHello({
      versions: [7, 9],
      bay: { id: "f".repeat(16), module: "future", instance: "future" },
      codecs: ["json"],
      compression: [],
      maxMessageBytes: 1024,
      windowBytes: 65_536,
      capabilities: [],
      metadata: {},
    }))),

  "overloaded: too many calls at once": async (place) => {
    const desk = await place.bay("desk");
    await desk.serve("desk/slow", never, { maxConcurrent: 1 });
    const aborter = new AbortController();
    const first = desk.call("desk/slow", 1, { signal: aborter.signal }).catch(() => {});
    const error = await failure(desk.call("desk/slow", 1).finally(() => aborter.abort()));
    await first;
    return error;
  },
  "overloaded: too many jobs at once": async (place) => {
    const desk = await place.bay("desk");
    await desk.perform("desk/dig", never, { maxConcurrent: 1 });
    await using _first = await desk.execute("desk/dig", 1);
    return await failure(desk.execute("desk/dig", 1));
  },
  "overloaded: a shout that is not awaited": async (place) => {
    const desk = await place.bay("desk");
    const News = defineSpeaker<number>({ address: "desk/news" });
    await using _listener = await desk.listen(News, { overflow: "block", maxQueue: 2 });
    await using speaker = await desk.speaker(News);
    return await failure(() => {
      for (let n = 0; n < 10; n++) void speaker.shout(n);
    });
  },
  "overloaded: a listener that asked to fail": async (place) => {
    const desk = await place.bay("desk");
    await using listener = await desk.listen("desk/news", { overflow: "fail", maxQueue: 2 });
    await using speaker = await desk.speaker("desk/news");
    for (let n = 0; n < 10; n++) void speaker.shout(n);
    return await failure(async () => {
      for await (const _ of listener);
    });
  },

  "unauthenticated: thrown by a handler": async (place) => {
    const desk = await place.bay("desk");
    await desk.serve("desk/secret", () => {
      throw new PatchbayError("unauthenticated", "the header x-token is missing", {
        remedy: "send x-token along",
      });
    });
    return await failure(desk.call("desk/secret", 1));
  },

  "forbidden: authorize said no": async (place) => {
    const arm = await place.bay("arm", { authorize: () => false });
    await arm.serve("arm/move", () => 1);
    return await failure((await place.bay("desk")).call("arm/move", 1));
  },
  "forbidden: the runtime directory is open to others": async (place) => {
    await Deno.mkdir(place.path);
    await Deno.chmod(place.path, 0o755);
    return await failure(() => openRuntimeDir({ path: place.path }));
  },
  "forbidden: the runtime directory is a symbolic link": async (place) => {
    await Deno.mkdir(`${place.folder}/real`, { mode: 0o700 });
    await Deno.symlink(`${place.folder}/real`, place.path);
    return await failure(() => openRuntimeDir({ path: place.path }));
  },
  "forbidden: the runtime directory is a file": async (place) => {
    await Deno.writeTextFile(place.path, "");
    return await failure(() => openRuntimeDir({ path: place.path }));
  },

  "forbidden: a segment is open to others": async () => {
    using memory = SharedMemory.create(`/pbt-${Deno.pid}-open`, 64);
    await Deno.chmod(`/dev/shm${memory.name}`, 0o640);
    const error = await failure(() => SharedMemory.open(memory.name));
    memory.unlink();
    return error;
  },

  "remote: a handler threw": async (place) => {
    const desk = await place.bay("desk");
    await desk.serve("desk/greet", () => {
      throw new RangeError("the pen is empty");
    });
    return await failure(desk.call("desk/greet", 1));
  },
  "remote: a goal was rejected": async (place) => {
    const desk = await place.bay("desk");
    await desk.perform("desk/dig", () => 1, { accept: () => false });
    return await failure(desk.execute("desk/dig", 1));
  },

  "unavailable: ROS 2 is to be protected": async (place) => {
    const variables = { ROS_SECURITY_ENABLE: "true", ROS_SECURITY_STRATEGY: "Enforce" };
    for (const [name, value] of Object.entries(variables)) Deno.env.set(name, value);
    try {
      const desk = await place.bay("desk", { plugins: [ros2], config: { ros2: { domain: 1 } } });
      return await failure(desk.call("arm/move", 1, { via: ["ros2"] }));
    } finally {
      for (const name of Object.keys(variables)) Deno.env.delete(name);
    }
  },
  "unavailable: policies of ROS 2 that do not fit": async (place) => {
    const wires = rosOptions(place);
    const name = (qos: string) => ({ ros2: { type: "std_msgs/msg/String", qos } });
    const arm = await place.bay("arm", wires);
    await arm.speaker(defineSpeaker({ address: "scan", native: name("sensor_data") }), {
      via: ["ros2"],
    });
    const { promise, resolve } = Promise.withResolvers<unknown>();
    const desk = await place.bay("desk", { ...wires, onReport: resolve });
    await desk.listen(defineSpeaker({ address: "scan", native: name("default") }), () => {}, {
      via: ["ros2"],
    });
    return (await promise as PatchbayError).with({});
  },
  "invalid: two nodes of one name": async (place) => {
    const wires = rosOptions(place);
    const { promise, resolve } = Promise.withResolvers<unknown>();
    await place.bay("arm", wires);
    await place.bay("arm", {
      ...wires,
      instance: "arm-b",
      onReport: resolve,
      config: {
        ros2: { ...wires.config.ros2, node: "arm" },
      },
    });
    return await promise;
  },
  "invalid: an address that cannot be a ROS name": async (place) => {
    const desk = await place.bay("desk", rosOptions(place));
    return await failure(desk.serve("lidar.2/scan", () => 1, { via: ["ros2"] }));
  },

  "internal: a plugin that does not keep what it declares": async (place) => {
    const desk = await place.bay("desk", { plugins: [odd] });
    return await failure(desk.call("arm/move", 1, { via: ["odd"] }));
  },
};

// What this system cannot do is not provoked there: shared memory lies in a folder on Linux alone.
const POSIX = Deno.build.os !== "windows";

for (const [name, provoke] of Object.entries(PROVOCATIONS)) {
  Deno.test({
    name: `troubleshooting: ${name}`,
    ignore: !POSIX,
    fn: async () => {
      await using place = new Place();
      const error = await provoke(place);
      documented(error);
      assert.equal((error as PatchbayError).code, name.split(":")[0]);
    },
  });
}

Deno.test({
  name: "troubleshooting: every code has a section, and every documented row was provoked",
  ignore: !POSIX,
  fn: () => {
    for (const code of ERROR_CODES) {
      assert.ok(ROWS.some((row) => row.code === code), `no row for ${code}`);
    }
    assert.deepEqual(ROWS.filter((row) => !met.has(row)), []);
  },
});
