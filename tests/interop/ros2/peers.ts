/**
 * Programs on two independent DDS stacks that the tests talk to: built once a run in a temporary
 * folder, told what to do over their input, heard over their output.
 *
 * What they are told, one line each (a depth of 0 keeps all):
 *
 *     writer NAME TOPIC string|bytes|keyed|everything RELIABLE TRANSIENT_LOCAL DEPTH
 *     reader NAME TOPIC string|bytes|keyed|everything RELIABLE TRANSIENT_LOCAL DEPTH [WRITER to echo to]
 *     write NAME NUMBER SIZE [TIMES]
 *     write NAME A B (a request; the writer's last word is the reader of the replies)
 *     dispose NAME ID · unregister NAME ID · close NAME · say WORD
 *
 * What those for actions are told stands in `action_logic.hpp`.
 *
 * @module
 */

import { join } from "node:path";
import { fileURLToPath } from "node:url";

const here = (file: string) => fileURLToPath(new URL(file, import.meta.url));

/** One of the two stacks. */
export type Stack = "fast" | "cyclone";

async function run(folder: string, command: string, ...args: string[]): Promise<void> {
  const options = { args, cwd: folder, stdin: "null", stdout: "piped", stderr: "piped" } as const;
  const { success, stdout, stderr } = await new Deno.Command(command, options).output();
  if (success) return;
  const told = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
  throw new Error(`${command} ${args.join(" ")} failed:\n${told}`);
}

/** What a program of a stack is made of. */
interface Source {
  readonly idl: string;
  readonly program: string;
}

/** The programs: topics and services, and actions. */
export const PROGRAMS: Readonly<Record<"endpoints" | "actions", Readonly<Record<Stack, Source>>>> =
  {
    endpoints: {
      fast: { idl: "types.idl", program: "fast_peer.cpp" },
      cyclone: { idl: "types.idl", program: "cyclone_peer.c" },
    },
    actions: {
      fast: { idl: "actions.idl", program: "fast_actions.cpp" },
      cyclone: { idl: "actions.idl", program: "cyclone_actions.cpp" },
    },
  };

const built = new Map<string, Promise<string>>();

async function build(stack: Stack, { idl, program: source }: Source): Promise<string> {
  const folder = await Deno.makeTempDir({ prefix: `pb-${stack}-` });
  addEventListener("unload", () => Deno.removeSync(folder, { recursive: true }));
  const types = idl.replace(/\.idl$/, "");
  await Deno.copyFile(here(`./${idl}`), join(folder, idl));
  const program = join(folder, "peer");
  const flags = ["-O1", "-I.", `-I${here("./")}`];
  const main = here(`./${source}`);
  if (stack === "cyclone") {
    await run(folder, "idlc", "-DWITH_HEADER", idl);
    // What idlc writes is C, whatever the program is written in.
    await run(folder, "gcc", "-O1", "-I.", "-c", "-o", "types.o", `${types}.c`);
    const compiler = source.endsWith(".c") ? ["gcc"] : ["g++", "-std=c++17"];
    const [command, ...more] = [...compiler, ...flags, "-o", program, main, "types.o"];
    await run(folder, command, ...more, "-lddsc", "-lpthread");
  } else {
    await run(folder, "fastddsgen", "-replace", "-d", folder, idl);
    const sources = [main, `${types}.cxx`, `${types}PubSubTypes.cxx`];
    const libraries = ["-lfastrtps", "-lfastcdr"];
    await run(folder, "g++", "-std=c++17", ...flags, "-o", program, ...sources, ...libraries);
  }
  return program;
}

/** Whether a stack's libraries and tools are there. */
export async function probe(stack: Stack): Promise<
  { available: true } | {
    available: false;
    reason: string;
  }
> {
  const wanted = stack === "fast"
    ? ["fastddsgen", "g++", "/usr/include/fastrtps"]
    : ["idlc", "gcc", "/usr/include/dds/dds.h"];
  for (const each of wanted) {
    const found = each.startsWith("/")
      ? await Deno.stat(each).then(() => true, () => false)
      : (await new Deno.Command("sh", { args: ["-c", `command -v ${each}`], stdout: "null" })
        .output()).success;
    if (!found) return { available: false, reason: `${each} is missing` };
  }
  return { available: true };
}

/** The environment that keeps Cyclone DDS on loopback, with multicast there. */
export const CYCLONE_ENV = {
  CYCLONEDDS_URI: `<CycloneDDS><Domain id="any"><General><Interfaces>` +
    `<NetworkInterface name="lo" multicast="true"/></Interfaces>` +
    `<AllowMulticast>true</AllowMulticast></General></Domain></CycloneDDS>`,
};

/** A running peer. */
export class Peer implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array>;
  readonly #reading: Promise<void>;
  #wake: (() => void)[] = [];
  #words = 0;
  /** What it has printed. */
  readonly lines: string[] = [];

  private constructor(child: Deno.ChildProcess) {
    this.#child = child;
    this.#input = child.stdin.getWriter();
    this.#reading = this.#read();
  }

  /** Builds the program unless it is built, and starts it. */
  static async start(
    stack: Stack,
    domain: number,
    what: keyof typeof PROGRAMS = "endpoints",
  ): Promise<Peer> {
    const source = PROGRAMS[what][stack];
    let program = built.get(source.program);
    if (program === undefined) built.set(source.program, program = build(stack, source));
    const child = new Deno.Command(await program, {
      args: [String(domain)],
      env: CYCLONE_ENV,
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    const peer = new Peer(child);
    await peer.until((line) => line === "ready");
    return peer;
  }

  async #read(): Promise<void> {
    let rest = "";
    for await (const text of this.#child.stdout.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + text).split("\n");
      rest = lines.pop() as string;
      this.lines.push(...lines);
      for (const wake of this.#wake.splice(0)) wake();
    }
  }

  /** Tells it something. */
  async tell(line: string): Promise<void> {
    await this.#input.write(new TextEncoder().encode(`${line}\n`));
  }

  /** Waits until it has done what it was told so far. */
  async done(): Promise<void> {
    const word = `done${++this.#words}`;
    await this.tell(`say ${word}`);
    await this.until((line) => line === word);
  }

  /** Waits until `count` lines are as wanted, and gives the last of them. */
  async until(wanted: (line: string) => boolean, count = 1, watchdogMs = 60_000): Promise<string> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () => reject(new Error(`in vain; it said:\n${this.lines.slice(-30).join("\n")}`)),
        watchdogMs,
      );
    });
    try {
      for (;;) {
        const found = this.lines.filter(wanted);
        if (found.length >= count) return found[count - 1];
        const wrong = this.lines.find((line) => line.startsWith("error"));
        if (wrong !== undefined) throw new Error(wrong);
        await Promise.race([late, new Promise<void>((resolve) => this.#wake.push(resolve))]);
      }
    } finally {
      clearTimeout(timer);
    }
  }

  /** Makes an endpoint. */
  async make(
    kind: "writer" | "reader",
    name: string,
    topic: string,
    type: "string" | "wide" | "bytes" | "keyed" | "everything" | "request" | "response",
    qos: { reliable: boolean; transient?: boolean; depth: number },
    echo = "",
  ): Promise<void> {
    const flags = `${Number(qos.reliable)} ${Number(qos.transient ?? false)} ${qos.depth}`;
    await this.tell(`${kind} ${name} ${topic} ${type} ${flags} ${echo}`);
    await this.until((line) => line === `made ${name}`);
  }

  /** Kills it: no goodbye. */
  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#end();
  }

  async #end(): Promise<void> {
    await this.#child.status;
    await this.#reading;
    await this.#input.abort().catch(() => {});
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#input.close().catch(() => {});
    await this.#end();
  }
}

/** As the peers compute it. */
export function checksum(bytes: Uint8Array): number {
  let sum = 0;
  for (const byte of bytes) sum = (Math.imul(sum, 31) + byte) >>> 0;
  return sum;
}

/** As the peers fill it. */
export function pattern(number: number, size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  for (let i = 0; i < size; i++) bytes[i] = number * 31 + i * 7 + (i >> 8);
  return bytes;
}
