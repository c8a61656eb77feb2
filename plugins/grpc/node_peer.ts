/**
 * For tests: a gRPC program on plain Node, as another process.
 *
 * @module
 */

import { fileURLToPath } from "node:url";

const PROGRAM = fileURLToPath(new URL("./testdata/node_peer.mjs", import.meta.url));
const PROTOS = fileURLToPath(new URL("./proto", import.meta.url));

/** What the program says. */
export type Said = Readonly<Record<string, unknown>>;

/** A running program. */
export class NodePeer implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #lines: ReadableStreamDefaultReader<Said>;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;

  private constructor(child: Deno.ChildProcess) {
    this.#child = child;
    this.#writer = child.stdin.getWriter();
    this.#lines = child.stdout.pipeThrough(new TextDecoderStream()).pipeThrough(lines())
      .getReader();
  }

  /**
   * Starts it.
   *
   * @param modules A folder with `node_modules` that has grpc-js in it.
   */
  static async start(modules: string): Promise<NodePeer> {
    const args = [PROGRAM, modules, PROTOS];
    const options = { args, stdin: "piped", stdout: "piped", stderr: "inherit" } as const;
    const peer = new NodePeer(new Deno.Command("node", options).spawn());
    await peer.next();
    return peer;
  }

  /** The next thing that it says. */
  async next(): Promise<Said> {
    const { value, done } = await this.#lines.read();
    if (done) throw new Error("the program on Node has ended");
    return value;
  }

  /** Tells it what to do. */
  async tell(name: string, about: Said = {}): Promise<void> {
    await this.#writer.write(new TextEncoder().encode(`${JSON.stringify({ name, ...about })}\n`));
  }

  /** Tells it what to do, and waits until it is done. */
  async ask(name: string, about: Said = {}): Promise<Said> {
    await this.tell(name, about);
    const said = await this.next();
    if (said.failed !== undefined) throw new Error(String(said.message));
    return said;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writer.close().catch(() => {});
    await this.#lines.cancel();
    await this.#child.status;
  }
}

function lines(): TransformStream<string, Said> {
  let rest = "";
  return new TransformStream({
    transform(text, controller) {
      const parts = (rest + text).split("\n");
      rest = parts.pop() ?? "";
      for (const part of parts) controller.enqueue(JSON.parse(part) as Said);
    },
  });
}

/**
 * Where grpc-js lies for Node: Deno's own cache of npm, linked together as Node looks for it.
 *
 * @param folder Where to put the links.
 */
export async function modulesForNode(folder: string): Promise<string> {
  await Deno.writeTextFile(
    `${folder}/deno.json`,
    JSON.stringify({
      nodeModulesDir: "auto",
      imports: {
        "@grpc/grpc-js": "npm:@grpc/grpc-js@1.14.7",
        "@grpc/proto-loader": "npm:@grpc/proto-loader@0.8.1",
      },
    }),
  );
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["install", "--quiet"],
    cwd: folder,
    stdout: "null",
    stderr: "piped",
  }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  return folder;
}
