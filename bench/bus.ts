/**
 * Frames from module to module through the manager of a bus, all of them processes, beside a bare
 * echo over TCP.
 *
 * @module
 */

import { fileURLToPath } from "node:url";
import { BusComm, Priority } from "@patchbay/bus";
import { ButtonState, Distance, frames, FrameType, Move } from "../plugins/bus/testdata/frames.ts";
import { ACK_FRAMES, join, nowNanos } from "./bus_far.ts";
import { compare, type Contender, latencies, quantile } from "./measure.ts";
import type { Row } from "./report.ts";
import { pinned, type Suite, type SuiteContext } from "./suite.ts";
import { writeAll } from "./uds_far.ts";
import { cpuMicros } from "./usage.ts";

/** How many modules are connected in the rows that say so. */
const MODULES = 200;
/** How many modules lose their manager in the row that says so. */
const LOST_MODULES = 20;
/** So many frames are under way between a speaker and its slowest listener: none may be dropped. */
const WINDOW_FRAMES = 3 * ACK_FRAMES;
/** How many frames are sent in one round for each millisecond that it may take. */
const FRAMES_PER_MS = 256;
/** The bytes of the frame that goes there and back, with the session's header and length. */
const FRAME_BYTES = 4 + 24 + 1 + 1;

/** A far process. */
class Far implements AsyncDisposable {
  readonly pid: number;
  /** What it said when it was ready. */
  readonly said: string;
  readonly #child: Deno.ChildProcess;

  private constructor(child: Deno.ChildProcess, said: string) {
    this.#child = child;
    this.pid = child.pid;
    this.said = said;
  }

  static async start(cores: string | undefined, ...args: string[]): Promise<Far> {
    const program = fileURLToPath(new URL("./bus_far.ts", import.meta.url));
    const [command, all] = pinned(cores, ["run", "-A", program, ...args]);
    const options = { args: all, stdin: "piped", stdout: "piped", stderr: "inherit" } as const;
    const child = new Deno.Command(command, options).spawn();
    let text = "";
    for await (const chunk of child.stdout) {
      text += new TextDecoder().decode(chunk);
      if (text.endsWith("\n")) break;
    }
    if (text === "") throw new Error(`the far process (${args[0]}) did not start`);
    return new Far(child, String(JSON.parse(text)));
  }

  /** Ends it as a crash does. */
  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#child.stdin.abort().catch(() => {});
    await this.#child.status;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#child.stdin.close();
    await this.#child.status;
  }
}

/** The floor: as many bytes to one other process and back. */
async function bareEcho(bare: Far): Promise<Contender> {
  const conn = await Deno.connect({ hostname: "127.0.0.1", port: Number(bare.said) });
  conn.setNoDelay(true);
  const [bytes, buffer] = [new Uint8Array(FRAME_BYTES), new Uint8Array(64 * 1024)];
  const { run } = latencies(async () => {
    await writeAll(conn, bytes);
    for (let left = bytes.length; left > 0;) left -= await conn.read(buffer) ?? Infinity;
  });
  return { run, pid: bare.pid };
}

/** Waits for the next frame that a comm gets. */
function nextOf(comm: BusComm): () => Promise<void> {
  let heard = () => {};
  comm.onFrame(() => heard());
  return () => new Promise((resolve) => heard = resolve);
}

/** From a module to another one, through the manager; both are in this process, as the floor's. */
async function oneWay(manager: Far): Promise<Contender & AsyncDisposable> {
  const [from, to] = [await join("from", manager.said), await join("to", manager.said)];
  await to.listenFor([FrameType.BUTTON_STATE]);
  await from.send(new ButtonState());
  const next = nextOf(to);
  const { run } = latencies(async () => {
    const heard = next();
    void from.send(new ButtonState({ pressed: true }));
    await heard;
  });
  return {
    run,
    pid: manager.pid,
    [Symbol.asyncDispose]: async () => void await Promise.all([from.stop(), to.stop()]),
  };
}

/** Asks a module in another process for a frame: each way is over the manager. */
async function answered(comm: BusComm): Promise<Contender> {
  const next = nextOf(comm);
  await comm.listenFor([FrameType.LED_STATE]);
  await comm.send(new ButtonState());
  return latencies(async () => {
    const answer = next();
    void comm.send(new ButtonState({ pressed: true }));
    await answer;
  });
}

/** Half of a contender's figure: one way of two. */
function half({ run, pid }: Contender, manager: Far): Contender {
  const halved = async (roundMs: number) => {
    const { value, operations } = await run(roundMs);
    return { value: value / 2, operations: operations * 2 };
  };
  return { run: halved, pid: pid ?? manager.pid };
}

/** A module that sends as much as its listeners take, and knows that each has heard every frame. */
class Speaker {
  readonly #comm: BusComm;
  readonly #acknowledged = new Map<string, number>();
  #wake = () => {};
  #sent = 0;

  private constructor(comm: BusComm, names: readonly string[]) {
    this.#comm = comm;
    for (const name of names) this.#acknowledged.set(name, 0);
    comm.onFrame(({ origin }) => {
      const before = this.#acknowledged.get(origin.module);
      if (before === undefined) return;
      this.#acknowledged.set(origin.module, before + ACK_FRAMES);
      this.#wake();
    });
  }

  static async open(url: string, names: readonly string[]): Promise<Speaker> {
    const comm = await join("speaker", url);
    await comm.listenFor([FrameType.PING]);
    const speaker = new Speaker(comm, names);
    for (let n = 0; n < ACK_FRAMES; n++) await speaker.#send();
    await speaker.#until(ACK_FRAMES);
    return speaker;
  }

  #send(): void | Promise<void> {
    return this.#comm.send(new Distance({ mm: this.#sent++ & 0xffff }));
  }

  get #heard(): number {
    return Math.min(...this.#acknowledged.values());
  }

  async #until(frames: number): Promise<void> {
    while (this.#heard < frames) await new Promise<void>((resolve) => this.#wake = resolve);
  }

  /** Deliveries a second. */
  contender(manager: Far): Contender {
    return {
      pid: manager.pid,
      run: async (roundMs) => {
        const frames = Math.ceil(roundMs * FRAMES_PER_MS / ACK_FRAMES) * ACK_FRAMES;
        const end = this.#sent + frames;
        const start = performance.now();
        while (this.#sent < end) {
          await this.#until(this.#sent + ACK_FRAMES - WINDOW_FRAMES);
          for (let n = 0; n < ACK_FRAMES; n++) void this.#send();
        }
        await this.#until(end);
        const operations = frames * this.#acknowledged.size;
        return { value: operations * 1000 / (performance.now() - start), operations };
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#comm.stop();
  }
}

/** How much of a core the manager takes while nobody says anything. */
function idle(manager: Far): Contender {
  return {
    pid: manager.pid,
    async run() {
      const [before, start] = [cpuMicros(manager.pid), performance.now()];
      await new Promise((resolve) => setTimeout(resolve, 1000));
      const took = (performance.now() - start) * 1000;
      return { value: 100 * (cpuMicros(manager.pid) - before) / took, operations: 1 };
    },
  };
}

async function latencyRows(context: SuiteContext): Promise<Row[]> {
  const { far } = context.placement;
  await using bare = await Far.start(far, "bare");
  await using manager = await Far.start(far, "manager");
  const echo = await bareEcho(bare);
  const rows: Row[] = [];
  {
    await using way = await oneWay(manager);
    rows.push(
      await compare(context, {
        figure: "module → manager → module, two modules in one process, p50",
        unit: "ns",
        ours: way,
        floor: echo,
        floorName: "bare echo",
        target: { ratioAtMost: 2.5 },
      }),
    );
  }
  await using _answer = await Far.start(context.placement.near, "answer", manager.said);
  await using comm = await join("near", manager.said);
  rows.push(
    await compare(context, {
      figure: "the same, each a process, half of there and back, p50",
      unit: "ns",
      ours: half(await answered(comm), manager),
      floor: echo,
      floorName: "bare echo",
      target: { ratioAtMost: 2.5 },
    }),
  );
  return rows;
}

async function rateRows(context: SuiteContext): Promise<Row[]> {
  const { near, far } = context.placement;
  const rows: Row[] = [];
  {
    await using manager = await Far.start(far, "manager");
    await using _hears = await Far.start(near, "hear", manager.said, "hear", "1");
    await using speaker = await Speaker.open(manager.said, ["hear0"]);
    rows.push(
      await compare(context, {
        figure: "frames to one listener, three processes",
        unit: "/s",
        ours: speaker.contender(manager),
        target: { atLeast: 300e3 },
      }),
    );
  }
  await using manager = await Far.start(far, "manager");
  await using _left = await Far.start(near, "hear", manager.said, "left", "5");
  await using _right = await Far.start(far, "hear", manager.said, "right", "5");
  const names = [0, 1, 2, 3, 4].flatMap((n) => [`left${n}`, `right${n}`]);
  await using speaker = await Speaker.open(manager.said, names);
  rows.push(
    await compare(context, {
      figure: "deliveries to ten listeners in two processes",
      unit: "/s",
      ours: speaker.contender(manager),
      target: { atLeast: 1e6 },
    }),
  );
  return rows;
}

async function crowdRows(context: SuiteContext): Promise<Row[]> {
  const { near, far } = context.placement;
  await using manager = await Far.start(far, "manager");
  const started = performance.now();
  await using _crowd = await Far.start(near, "crowd", manager.said, String(MODULES));
  const tookMs = performance.now() - started;
  return [
    {
      figure: `${MODULES} modules started, connected and listening`,
      unit: "ns",
      ours: { value: tookMs * 1e6 },
    },
    await compare({ ...context, rounds: 3 }, {
      figure: `CPU of the manager with ${MODULES} modules that are silent, % of a core`,
      unit: "count",
      ours: idle(manager),
      target: { atMost: 0.5 },
    }),
  ];
}

/** What comes in the highest lane beside a stream, and how much of the stream comes meanwhile. */
async function laneRows(context: SuiteContext): Promise<Row[]> {
  const { near, far } = context.placement;
  await using manager = await Far.start(far, "manager");
  await using _stream = await Far.start(near, "stream", manager.said);
  await using other = await join("other", manager.said);
  await other.send(new Move(), Priority.HIGH);
  await using comm = await join("near", manager.said);
  const took = { stream: [] as number[], other: [] as number[] };
  let streamed = 0;
  comm.onFrame((frame) => {
    const move = frame.as(Move);
    if (move === undefined) streamed++;
    else {
      const nanos = Number(nowNanos() - move.until);
      (frame.origin.module === "other" ? took.other : took.stream).push(nanos);
    }
  });
  await comm.listenFor([FrameType.DISPLAY_8x8_CHARACTER, FrameType.MOVE]);
  const during = (figure: (ms: number) => number): Contender => ({
    pid: manager.pid,
    async run(roundMs) {
      [took.stream, took.other, streamed] = [[], [], 0];
      const start = performance.now();
      const send = () => void other.send(new Move({ until: nowNanos() }), Priority.HIGH);
      const timer = setInterval(send, 5);
      await new Promise((resolve) => setTimeout(resolve, 10 * roundMs));
      clearInterval(timer);
      return { value: figure(performance.now() - start), operations: streamed };
    },
  });
  return [
    await compare(context, {
      figure: "HIGH frame of another module to who gets a saturating DATA_STREAM, p99",
      unit: "ns",
      ours: during(() => quantile(took.other, 0.99)),
      target: { atMost: 5e6 },
    }),
    await compare(context, {
      figure: "HIGH frame behind its module's own saturating DATA_STREAM, p99",
      unit: "ns",
      ours: during(() => quantile(took.stream, 0.99)),
      target: { atMost: 5e6 },
    }),
    await compare(context, {
      figure: "the same, p50",
      unit: "ns",
      ours: during(() => quantile(took.stream, 0.5)),
    }),
    await compare(context, {
      figure: "frames of 242 B of that stream, meanwhile",
      unit: "/s",
      ours: during((ms) => streamed * 1000 / ms),
    }),
  ];
}

/** How long it takes until frames come to all modules again, once a new manager listens. */
async function lossRows(context: SuiteContext): Promise<Row[]> {
  const { far } = context.placement;
  let manager = await Far.start(far, "manager");
  const url = manager.said;
  // Each says that it has lost the manager, and that is what is wanted.
  const quiet = { frames, url, onReport: () => {} };
  const beacon = await BusComm.open({ module: "beacon", ...quiet });
  const lost = await Promise.all(
    Array.from({ length: LOST_MODULES }, async (_, n) => {
      const comm = await BusComm.open({ module: `lost${n}`, ...quiet });
      await comm.listenFor([FrameType.BUTTON_STATE]);
      return comm;
    }),
  );
  const restarted = async () => {
    await manager.kill();
    const heard = Promise.all(lost.map((comm) => nextOf(comm)()));
    manager = await Far.start(far, "manager", new URL(url).port);
    const start = performance.now();
    const timer = setInterval(() => void beacon.send(new ButtonState()), 1);
    await heard;
    clearInterval(timer);
    return { value: (performance.now() - start) * 1e6, operations: 1 };
  };
  const row = await compare(context, {
    figure: `manager killed and started again: until ${LOST_MODULES} modules hear frames again`,
    unit: "ns",
    ours: { run: restarted },
    target: { atMost: 1e9 },
  });
  await Promise.all([beacon, ...lost].map((comm) => comm.stop()));
  await manager[Symbol.asyncDispose]();
  return [row];
}

async function run(context: SuiteContext): Promise<Row[]> {
  const parts = [latencyRows, rateRows, crowdRows, laneRows, lossRows];
  const rows: Row[] = [];
  for (const part of parts) rows.push(...await part(context));
  return rows;
}

/** The suite. */
const suite: Suite = {
  summary:
    "frames through the manager of a bus, modules as processes; CPU and memory: this + the manager",
  processes: 2,
  run,
};

export default suite;
