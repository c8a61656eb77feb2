import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { open, type PatchbayError } from "@patchbay/core";
import { type Attendance, BusComm, type BusConfig } from "./mod.ts";
import { FrameSet } from "./frames/mod.ts";
import { createBus } from "./plugin.ts";
import { Distance, frames, FrameType } from "./testdata/frames.ts";

const bus = createBus();

/** A manager with what it has reported. */
async function manager(config: Partial<BusConfig> = {}) {
  const reports: PatchbayError[] = [];
  const bay = await open({
    module: "manager",
    plugins: [bus] as const,
    config: { bus: { listen: { port: 0 }, ...config } },
    onReport: (error) => reports.push(error),
  });
  const extras = bay.transport(bus);
  return {
    reports,
    extras,
    url: extras.where[0],
    names: () => extras.modules().map(({ name }) => name),
    [Symbol.asyncDispose]: () => bay.close(),
  };
}

/** Definitions that differ from the others in one layout. */
function otherFrames(): FrameSet {
  class Longer extends Distance {
    static override readonly layout = "0000000000000000" as never;
  }
  return new FrameSet("another", [Longer]);
}

/** Resolves when the manager has been told of a module's coming or going. */
function attendance(
  extras: { onAttendance(told: (attendance: Attendance) => void): () => void },
  event: Attendance["event"],
  name: string,
): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const end = extras.onAttendance((one) => {
    if (one.event !== event || one.name !== name) return;
    end();
    resolve();
  });
  return promise;
}

const ROUNDS = 10;
const distance = [FrameType.DISTANCE];

Deno.test("bus manager: of two modules of one name that join at once, one is refused", async () => {
  await using hub = await manager({ sameName: "refuse" });
  for (let round = 0; round < ROUNDS; round++) {
    const options = { module: "led", frames, url: hub.url, onReport: () => {} };
    await using one = await BusComm.open(options);
    await using two = await BusComm.open(options);
    const joins = await Promise.allSettled([one.listenFor(distance), two.listenFor(distance)]);
    const refused = joins.flatMap((each) => each.status === "rejected" ? [each.reason] : []);
    assert.deepEqual(refused.map(({ message }) => message), [
      "a module led is on the bus already",
    ]);
    assert.deepEqual(hub.names(), ["led"]);
    const left = attendance(hub.extras, "left", "led");
    await Promise.all([one.stop(), two.stop(), left]);
  }
});

Deno.test("bus manager: of two modules with other definitions that join at once, one is refused", async () => {
  await using hub = await manager();
  const other = otherFrames();
  for (let round = 0; round < ROUNDS; round++) {
    const options = { url: hub.url, onReport: () => {} };
    await using one = await BusComm.open({ module: "one", frames, ...options });
    await using two = await BusComm.open({ module: "two", frames: other, ...options });
    const joins = await Promise.allSettled([one.listenFor(distance), two.listenFor(distance)]);
    const refused = joins.flatMap((each) => each.status === "rejected" ? [each.reason] : []);
    assert.deepEqual(refused.map(({ code }) => code), ["invalid"]);
    assert.match(refused[0].message, /DISTANCE has another layout there/);
    assert.equal(hub.names().length, 1);
    const left = attendance(hub.extras, "left", hub.names()[0]);
    await Promise.all([one.stop(), two.stop(), left]);
  }
});

Deno.test("bus manager: who has no token or another is refused, and nobody else notices", async () => {
  await using hub = await manager({ token: "secret" });
  const join = async (module: string, token?: string) => {
    const comm = await BusComm.open({ module, frames, url: hub.url, token, onReport: () => {} });
    try {
      await comm.listenFor(distance);
      return comm;
    } catch (error) {
      await comm.stop();
      throw error;
    }
  };
  await using display = await join("display", "secret");
  for (const token of [undefined, "", "secre", "secret ", "another"]) {
    await assert.rejects(join("stranger", token), {
      code: "unauthenticated",
      message: /the token is missing or wrong/,
    });
  }
  await using sensor = await join("sensor", "secret");
  assert.deepEqual(hub.names(), ["display", "sensor"]);
  await sensor.send(new Distance({ mm: 7 }));
  for await (const frame of display) {
    assert.equal(frame.as(Distance)?.mm, 7);
    break;
  }
  assert.equal(display.statistics().reconnections, 0);
});

Deno.test("bus manager: it lets the network in with a token only, and nobody else by default", async () => {
  const available = async (config: Partial<BusConfig>) => await bus.available(config as BusConfig);
  for (const hostname of ["0.0.0.0", "::", "192.0.2.1", "robot.local"]) {
    for (const listen of [{ hostname }, { hostname, port: 1, path: "/run/bus.sock" }]) {
      for (const token of [undefined, ""]) {
        const refused = await available({ listen, token });
        assert.ok(!refused.available, JSON.stringify({ listen, token }));
        assert.match(refused.reason, /lets the network in, and there is no token/);
        assert.match(refused.remedy ?? "", /config\.bus\.token|127\.0\.0\.1/);
      }
      assert.equal((await available({ listen, token: "secret" })).available, true);
    }
  }
  for (const listen of [{}, { hostname: "::1" }, { hostname: "0.0.0.0", path: "/run/bus.sock" }]) {
    assert.equal((await available({ listen })).available, true, JSON.stringify(listen));
  }
  const permissions = (listen: BusConfig["listen"]) =>
    bus.permissions?.({ listen } as BusConfig, undefined as never);
  assert.deepEqual(permissions({}), ["--allow-net=127.0.0.1:5000"], "the default");
});

Deno.test({
  name: "bus manager: a Unix socket is as open as its folder",
  ignore: Deno.build.os === "windows",
  async fn() {
    const folder = await Deno.makeTempDir({ prefix: "pb-" });
    const path = `${folder}/bus.sock`;
    try {
      for (const [mode, socket] of [[0o700, 0o600], [0o770, 0o660]]) {
        await Deno.chmod(folder, mode);
        await using _ = await manager({ listen: { path } });
        assert.equal((await Deno.lstat(path)).mode! & 0o777, socket);
      }
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});

Deno.test("bus manager: the definitions go with the last module that has any", async () => {
  await using hub = await manager();
  // A bay without definitions, such as `patchbay bus top`, stays.
  await using plain = await open({
    module: "top",
    plugins: [bus] as const,
    config: { bus: { url: hub.url } },
  });
  await plain.listen("frame/*", () => {});
  const first = await BusComm.open({ module: "first", frames, url: hub.url });
  await first.listenFor(distance);
  const left = attendance(hub.extras, "left", "first");
  await first.stop();
  await left;
  await using second = await BusComm.open({
    module: "second",
    frames: otherFrames(),
    url: hub.url,
  });
  await second.listenFor(distance);
  assert.deepEqual(hub.names(), ["top", "second"]);
});

Deno.test("bus manager: a callback of attendance that throws costs nobody anything", async () => {
  await using hub = await manager();
  const told: string[] = [];
  hub.extras.onAttendance(() => {
    throw new Error("broken callback");
  });
  hub.extras.onAttendance(({ event, name }) => void told.push(`${event} ${name}`));
  const left = attendance(hub.extras, "left", "led");
  const led = await BusComm.open({ module: "led", frames, url: hub.url });
  await led.listenFor(distance);
  assert.deepEqual(hub.names(), ["led"]);
  await led.stop();
  await left;
  assert.deepEqual(told, ["joined led", "left led"]);
  assert.deepEqual(hub.reports.map(({ message }) => message), [
    "broken callback",
    "broken callback",
  ]);
});

Deno.test({
  name:
    "bus manager: a process that has stopped reading is cut off at once and once, and comes back",
  ignore: Deno.build.os === "windows",
  async fn() {
    await using hub = await manager({ cutOffAfterDrops: 1000 });
    const child = new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "-A",
        fileURLToPath(new URL("testdata/listening_module.ts", import.meta.url)),
        hub.url,
      ],
      stdout: "piped",
    }).spawn();
    try {
      const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
      assert.match((await reader.read()).value ?? "", /ready/);
      await reader.cancel();
      await using camera = await BusComm.open({ module: "camera", frames, url: hub.url });
      await camera.send(new Distance({ mm: 1 }));
      Deno.kill(child.pid, "SIGSTOP");
      let gone = false;
      const left = attendance(hub.extras, "left", "listening").then(() => gone = true);
      // The kernel takes some of it; then the manager's queue for it overflows.
      for (let turns = 0; !gone && turns < 20_000; turns++) {
        for (let n = 0; n < 2000; n++) camera.send(new Distance({ mm: n }));
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      assert.ok(gone, "it was not cut off");
      await left;
      assert.equal(hub.reports.length, 1);
      assert.match(hub.reports[0].message, /listening has read nothing .* it is cut off/);
      assert.deepEqual(hub.names(), ["camera"]);
      const back = attendance(hub.extras, "joined", "listening");
      Deno.kill(child.pid, "SIGCONT");
      await back;
      // What it had not read is not held against it a second time.
      assert.equal(hub.reports.length, 1);
    } finally {
      child.kill("SIGKILL");
      await child.status;
    }
  },
});
