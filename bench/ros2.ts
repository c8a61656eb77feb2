/**
 * RTPS between two Deno processes on loopback, beside bare UDP; and the encoding of ROS 2 messages.
 *
 * @module
 */

import { fileURLToPath } from "node:url";
import { Types } from "@patchbay/ros2/types";
import { OwnDomain } from "../plugins/ros2/fixture.ts";
import { batches, compare, type Contender, latencies } from "./measure.ts";
import type { Row } from "./report.ts";
import {
  bareSocket,
  type Datagrams,
  openParticipant,
  PING_QOS,
  STREAM_QOS,
  Want,
} from "./ros2_far.ts";
import { pluginRows } from "./ros2_plugin.ts";
import { pinned, type Suite, type SuiteContext } from "./suite.ts";
import { cpuMicros } from "./usage.ts";

type Participant = Awaited<ReturnType<typeof openParticipant>>;

interface Far extends AsyncDisposable {
  readonly pid: number;
  /** What it printed when it was ready. */
  readonly word: string;
}

async function startFar(cores: string | undefined, ...args: string[]): Promise<Far> {
  const program = fileURLToPath(new URL("./ros2_far.ts", import.meta.url));
  const flags = ["run", "-A", "--unstable-net", program, ...args];
  const [command, all] = pinned(cores, flags);
  const options = { args: all, stdin: "piped", stdout: "piped", stderr: "inherit" } as const;
  const child = new Deno.Command(command, options).spawn();
  const reader = child.stdout.getReader();
  const { value, done } = await reader.read();
  if (done) throw new Error(`the far process (${args[0]}) did not start`);
  return {
    pid: child.pid,
    word: new TextDecoder().decode(value).trim(),
    async [Symbol.asyncDispose]() {
      await child.stdin.close();
      await reader.cancel();
      await child.status;
    },
  };
}

/** Until both have met. */
async function matched(endpoint: { readonly matched: readonly unknown[] }): Promise<void> {
  while (endpoint.matched.length === 0) await new Promise((resolve) => setTimeout(resolve, 1));
}

/** There and back over two topics, one sample at a time. */
async function pingPong(participant: Participant, pid: number): Promise<Contender> {
  let arrived: () => void = () => {};
  const writer = participant.createWriter({ topic: "rt/ping", type: "Bytes", qos: PING_QOS });
  const reader = participant.createReader({
    topic: "rt/pong",
    type: "Bytes",
    qos: PING_QOS,
    onSample: () => arrived(),
  });
  await matched(writer);
  await matched(reader);
  const { run } = latencies(() => {
    const payload = new Uint8Array(64);
    payload[1] = 1;
    return new Promise<void>((resolve) => {
      arrived = resolve;
      writer.write(payload);
    });
  });
  return { run, pid };
}

function bareEcho(socket: Datagrams, to: unknown, pid: number): Contender {
  const bytes = new Uint8Array(64);
  bytes[0] = Want.echo;
  const buffer = new Uint8Array(65_536);
  const { run } = latencies(async () => {
    await socket.send(bytes, to);
    await socket.receive(buffer);
  });
  return { run, pid };
}

/** Samples one way, reliably: the figure is samples, or bytes, a second. */
function stream(
  writer: ReturnType<Participant["createWriter"]>,
  pid: number,
  size: number,
  countBytes: boolean,
): Contender {
  let number = 0;
  return {
    pid,
    async run(roundMs) {
      const start = performance.now();
      let operations = 0;
      number = writer.statistics.written;
      while (performance.now() - start < roundMs) {
        for (let i = 0; i < 16; i++) {
          const payload = new Uint8Array(size);
          payload[1] = 1;
          new DataView(payload.buffer).setUint32(4, ++number, true);
          const held = writer.writable(size);
          if (held !== undefined) await held;
          writer.write(payload);
          operations++;
        }
      }
      if (!await writer.untilAcknowledged(10_000)) throw new Error("not acknowledged");
      const perSecond = operations * 1000 / (performance.now() - start);
      return { value: perSecond * (countBytes ? size : 1), operations };
    },
  };
}

/** Datagrams one way, of which every so-many-th is answered: as many at most are under way. */
function bareStream(
  socket: Datagrams,
  to: unknown,
  pid: number,
  size: number,
  window: number,
  countBytes: boolean,
): Contender {
  const plain = new Uint8Array(size);
  plain[0] = Want.nothing;
  const asking = new Uint8Array(size);
  asking[0] = Want.answer;
  const buffer = new Uint8Array(65_536);
  return {
    pid,
    async run(roundMs) {
      const start = performance.now();
      let operations = 0;
      while (performance.now() - start < roundMs) {
        const sending: Promise<number>[] = [];
        for (let i = 1; i < window; i++) sending.push(socket.send(plain, to));
        sending.push(socket.send(asking, to));
        await Promise.all(sending);
        await socket.receive(buffer);
        operations += window;
      }
      const perSecond = operations * 1000 / (performance.now() - start);
      return { value: perSecond * (countBytes ? size : 1), operations };
    },
  };
}

/** From opening a participant to knowing a writer and a reader of the other process. */
function discovery(domain: number, pid: number): Contender {
  const { run } = latencies(async () => {
    const participant = await openParticipant(domain);
    const writer = participant.createWriter({ topic: "rt/ping", type: "Bytes", qos: PING_QOS });
    const met = Promise.withResolvers<void>();
    participant.createReader({
      topic: "rt/pong",
      type: "Bytes",
      qos: PING_QOS,
      onSample: () => {},
      onMatched: () => met.resolve(),
    });
    await met.promise;
    await matched(writer);
    await participant.close();
  });
  return { run, pid };
}

/** The share of a core that the other process uses while nothing is sent, in percent. */
function idle(pid: number): Contender {
  return {
    async run() {
      const [start, before] = [performance.now(), cpuMicros(pid)];
      await new Promise((resolve) => setTimeout(resolve, 1000));
      const took = performance.now() - start;
      return { value: (cpuMicros(pid) - before) / 10 / took, operations: 1 };
    },
  };
}

async function codecRows(context: SuiteContext): Promise<Row[]> {
  const types = new Types();
  const imu = types.message("sensor_msgs/Imu");
  const image = types.message("sensor_msgs/Image");
  const sample = imu.decode(imu.encode({ header: { frame_id: "imu_link" } }));
  const picture = { header: { frame_id: "camera" }, encoding: "rgb8", data: new Uint8Array(1e6) };
  const [small, large] = [imu.encode(sample), image.encode(picture)];
  const row = (figure: string, atMost: number, ours: Contender) => ({
    figure,
    unit: "ns",
    ours,
    target: { atMost },
  } as const);
  const times = (work: () => unknown) => (operations: number) => {
    for (let i = 0; i < operations; i++) work();
  };
  const comparisons = [
    row("sensor_msgs/Imu, encode", 2500, batches(times(() => imu.encode(sample)))),
    row("sensor_msgs/Imu, decode", 2500, batches(times(() => imu.decode(small)))),
    row("sensor_msgs/Image of 1 MB, encode", 1e5, batches(times(() => image.encode(picture)), 50)),
    row("sensor_msgs/Image of 1 MB, decode", 1e5, batches(times(() => image.decode(large)), 50)),
  ];
  const rows: Row[] = [];
  for (const comparison of comparisons) rows.push(await compare(context, comparison));
  return rows;
}

async function run(context: SuiteContext): Promise<Row[]> {
  // Nobody else is met in these.
  using own = new OwnDomain();
  using beside = new OwnDomain();
  const domain = own.number;
  await using far = await startFar(context.placement.far, "ours", String(domain));
  await using bare = await startFar(context.placement.far, "bare");
  const to = { transport: "udp", hostname: "127.0.0.1", port: Number(bare.word) };
  const socket = bareSocket();
  await using participant = await openParticipant(domain);
  const rows: Row[] = [];
  rows.push(
    await compare(context, {
      figure: "64 B there and back, p50",
      unit: "ns",
      ours: await pingPong(participant, far.pid),
      floor: bareEcho(socket, to, bare.pid),
      floorName: "bare UDP echo",
      target: { ratioAtMost: 1.4 },
    }),
  );
  const topic = { topic: "rt/stream", type: "Bytes", qos: STREAM_QOS };
  const writer = participant.createWriter(topic);
  await matched(writer);
  rows.push(
    await compare(context, {
      figure: "64 B one way, reliable",
      unit: "/s",
      ours: stream(writer, far.pid, 64, false),
      floor: bareStream(socket, to, bare.pid, 64, 64, false),
      floorName: "bare UDP, every 64th answered",
      target: { atLeast: 60_000 },
    }),
    await compare(context, {
      figure: "1 MB one way, reliable, bytes",
      unit: "/s",
      ours: stream(writer, far.pid, 1_000_000, true),
      floor: bareStream(socket, to, bare.pid, 60_000, 3, true),
      floorName: "bare UDP of 60 KB, every 3rd answered",
      target: { atLeast: 400e6 },
    }),
    await compare(context, {
      figure: "discovery: open to matched both ways, p50",
      unit: "ns",
      ours: discovery(domain, far.pid),
      target: { atMost: 200e6 },
    }),
    await compare({ ...context, rounds: 3 }, {
      figure: "idle participant, % of a core",
      unit: "count",
      ours: idle(far.pid),
      target: { atMost: 1 },
    }),
  );
  // In a domain of its own, beside the participants above.
  const other = beside.number;
  await using node = await startFar(context.placement.far, "bay", String(other));
  const floors = {
    echo: bareEcho(socket, to, bare.pid),
    small: bareStream(socket, to, bare.pid, 64, 64, false),
    large: bareStream(socket, to, bare.pid, 60_000, 3, true),
  };
  rows.push(...await pluginRows(context, other, node.pid, floors));
  return [...rows, ...await codecRows(context)];
}

/** The suite. */
const suite: Suite = {
  summary: "RTPS between two processes on loopback; CDR; CPU and memory: this process + the other",
  flags: ["--unstable-net"],
  processes: 2,
  run,
};

export default suite;
