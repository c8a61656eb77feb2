/**
 * For tests and benches: real `mosquitto` processes on the loopback interface, each with a folder of
 * its own, ended by the one who started them.
 *
 * @module
 */

import { freePort, listens, ServerProcess } from "@patchbay/core/conformance";

/** What `requireOrIgnore` asks. */
export async function probeMosquitto(): Promise<
  { available: true; detail: string } | { available: false; reason: string; remedy: string }
> {
  for (const program of ["mosquitto", "mosquitto_sub", "mosquitto_pub"]) {
    try {
      await new Deno.Command(program, { args: ["--help"], stdout: "null", stderr: "null" })
        .output();
    } catch (error) {
      return {
        available: false,
        reason: `${program}: ${(error as Error).message}`,
        remedy: "apt-get install mosquitto mosquitto-clients",
      };
    }
  }
  return { available: true, detail: "mosquitto and its clients" };
}

/** How a broker is started. */
export interface MosquittoOptions {
  /** Lines before the listeners. */
  readonly lines?: readonly string[];
  /** Lines of its first listener: TLS. */
  readonly listener?: readonly string[];
  /** Files to put into its folder, by name. */
  readonly files?: Readonly<Record<string, string>>;
  /** Lines of a second listener, which speaks WebSocket. */
  readonly websocket?: readonly string[];
  /** Whether it asks for users and passwords; then `lines` say where they are. */
  readonly anonymous?: boolean;
  /** Whether it keeps what it has in its folder, at each change. */
  readonly persistence?: boolean;
}

/** One `mosquitto`. */
export class Mosquitto implements AsyncDisposable {
  /** Where it listens. */
  readonly port: number;
  /** Where it listens for WebSockets, if it does. */
  readonly websocketPort: number;
  /** Its folder, with its configuration and what it keeps. */
  readonly folder: string;
  readonly #process: ServerProcess;

  private constructor(port: number, websocketPort: number, folder: string, websocket: boolean) {
    this.port = port;
    this.websocketPort = websocketPort;
    this.folder = folder;
    const ports = websocket ? [port, websocketPort] : [port];
    this.#process = new ServerProcess(
      "mosquitto",
      ["-c", `${folder}/mosquitto.conf`],
      async () => (await Promise.all(ports.map(listens))).every((each) => each),
    );
  }

  /**
   * Starts one, and waits until it answers.
   *
   * @param options How; `FOLDER` in its lines is its folder.
   */
  static async start(options: MosquittoOptions = {}): Promise<Mosquitto> {
    const folder = await Deno.makeTempDir({ prefix: "pb-mosquitto-" });
    const broker = new Mosquitto(
      freePort(),
      freePort(),
      folder,
      options.websocket !== undefined,
    );
    const keeps = options.persistence === true
      ? [
        "persistence true",
        `persistence_location ${folder}/`,
        "autosave_on_changes true",
        "autosave_interval 1",
      ]
      : ["persistence false"];
    const lines = [
      // Started as root it would read keys as somebody who may not.
      "user root",
      "log_dest none",
      // Else an answer waits up to 40 ms for the confirmation of what was sent before it.
      "set_tcp_nodelay true",
      // The suite sends more at once than the thousand that a listener may have waiting.
      "max_queued_messages 100000",
      ...keeps,
      ...options.lines ?? [],
      `listener ${broker.port} 127.0.0.1`,
      `allow_anonymous ${options.anonymous !== false}`,
      ...options.listener ?? [],
      ...options.websocket === undefined ? [] : [
        `listener ${broker.websocketPort}`,
        // A WebSocket listener heeds no address.
        "bind_interface lo",
        "protocol websockets",
        "allow_anonymous true",
        ...options.websocket,
      ],
    ];
    for (const [name, text] of Object.entries(options.files ?? {})) {
      await Deno.writeTextFile(`${folder}/${name}`, text);
    }
    const text = lines.join("\n").replaceAll("FOLDER", folder);
    await Deno.writeTextFile(`${folder}/mosquitto.conf`, text + "\n");
    try {
      await broker.restart();
    } catch (error) {
      await broker[Symbol.asyncDispose]();
      throw error;
    }
    return broker;
  }

  /** Starts it again, after {@link kill}, with what it has kept. */
  async restart(): Promise<void> {
    await this.#process.start();
  }

  /** Ends it with SIGKILL. */
  async kill(): Promise<void> {
    await this.#process.kill();
  }

  /**
   * Runs `mosquitto_pub` or `mosquitto_sub` on it, and lets it run.
   *
   * @param program Which.
   * @param args Further arguments.
   */
  spawn(program: "mosquitto_pub" | "mosquitto_sub", args: readonly string[]): Deno.ChildProcess {
    return new Deno.Command(program, {
      args: ["-h", "127.0.0.1", "-p", String(this.port), ...args],
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
  }

  /** As {@link spawn}, to its end: what it prints. */
  async run(program: "mosquitto_pub" | "mosquitto_sub", args: readonly string[]): Promise<string> {
    const { stdout, stderr } = await this.spawn(program, args).output();
    return (new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr)).trimEnd();
  }

  /** Ends it, and removes its folder. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    await Deno.remove(this.folder, { recursive: true }).catch(() => {});
  }
}
