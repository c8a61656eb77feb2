/**
 * For tests and benches: real `mosquitto` processes on the loopback interface, each with a folder of
 * its own, ended by the one who started them.
 *
 * @module
 */

/** A port that was free a moment ago. */
function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

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
  readonly #websocket: boolean;
  #child: Deno.ChildProcess | undefined;
  /** Ends the server when this process is killed: its input ends then. */
  #guard: Deno.ChildProcess | undefined;

  private constructor(port: number, websocketPort: number, folder: string, websocket: boolean) {
    this.#websocket = websocket;
    this.port = port;
    this.websocketPort = websocketPort;
    this.folder = folder;
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
    this.#child = new Deno.Command("mosquitto", {
      args: ["-c", `${this.folder}/mosquitto.conf`],
      stdout: "null",
      stderr: "null",
    }).spawn();
    const { status, pid } = this.#child;
    this.#guard = new Deno.Command("sh", {
      args: ["-c", `cat >/dev/null; kill -9 ${pid}`],
      stdin: "piped",
      stdout: "null",
      stderr: "null",
    }).spawn();
    let dead: Deno.CommandStatus | undefined;
    status.then((known) => dead = known);
    for (let left = 500; left > 0; left--) {
      if (dead !== undefined) throw new Error(`mosquitto ended with code ${dead.code}`);
      if (await this.#answers()) return;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    throw new Error("mosquitto did not answer within 5 s");
  }

  /** Ends it with SIGKILL. */
  async kill(): Promise<void> {
    const [child, guard] = [this.#child, this.#guard];
    this.#child = this.#guard = undefined;
    // The guard first: the server's number may soon be another one's.
    guard?.kill("SIGKILL");
    await guard?.stdin.close().catch(() => {});
    await guard?.status;
    try {
      child?.kill("SIGKILL");
    } catch {
      // It has ended by itself.
    }
    await child?.status;
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

  async #answers(): Promise<boolean> {
    const ports = this.#websocket ? [this.port, this.websocketPort] : [this.port];
    try {
      for (const port of ports) (await Deno.connect({ hostname: "127.0.0.1", port })).close();
      return true;
    } catch {
      return false;
    }
  }
}
