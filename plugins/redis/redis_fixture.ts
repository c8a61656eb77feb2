/**
 * For tests and benches: real `redis-server` processes on the loopback interface, each with a folder
 * of its own, ended by the one who started them.
 *
 * @module
 */

import { Redis } from "npm:ioredis@6.0.0";
import { freePort, listens, ServerProcess } from "@patchbay/core/conformance";

/** What `requireOrIgnore` asks. */
export async function probeRedis(): Promise<
  { available: true; detail: string } | { available: false; reason: string; remedy: string }
> {
  for (const program of ["redis-server", "redis-cli"]) {
    try {
      await new Deno.Command(program, { args: ["--version"], stdout: "null", stderr: "null" })
        .output();
    } catch (error) {
      return {
        available: false,
        reason: `${program}: ${(error as Error).message}`,
        remedy: "apt-get install redis-server redis-tools",
      };
    }
  }
  return { available: true, detail: "redis-server and redis-cli" };
}

/** How a broker is started. */
export interface BrokerOptions {
  /** Lines of its configuration. */
  readonly lines?: readonly string[];
  /** The arguments by which `redis-cli` and the tests reach it. */
  readonly user?: string;
  /** The password. */
  readonly password?: string;
  /** Whether the port speaks TLS. */
  readonly tls?: { readonly ca: string; readonly cert: string; readonly key: string };
  /** Files to put into its folder, by name. */
  readonly files?: Readonly<Record<string, string>>;
  /** Further arguments of the program: `--sentinel`. */
  readonly flags?: readonly string[];
  /** The lines of a sentinel's configuration: it is one, and no server. */
  readonly sentinel?: readonly string[];
  /** Its port; default: a free one. */
  readonly port?: number;
}

/** One `redis-server`. */
export class Broker implements AsyncDisposable {
  /** Where it listens. */
  readonly port: number;
  /** Its folder, with its configuration and what it keeps. */
  readonly folder: string;
  readonly #options: BrokerOptions;
  readonly #process: ServerProcess;

  private constructor(port: number, folder: string, options: BrokerOptions) {
    this.port = port;
    this.folder = folder;
    this.#options = options;
    this.#process = new ServerProcess(
      "redis-server",
      [`${folder}/redis.conf`, ...options.flags ?? []],
      () => this.#answers(),
    );
  }

  /**
   * Starts one, and waits until it answers.
   *
   * @param options How.
   */
  static async start(options: BrokerOptions = {}): Promise<Broker> {
    const folder = await Deno.makeTempDir({ prefix: "pb-redis-" });
    const broker = new Broker(options.port ?? freePort(), folder, options);
    const { port } = broker;
    const port_ = options.tls === undefined ? [`port ${port}`] : [
      "port 0",
      `tls-port ${port}`,
      `tls-ca-cert-file ${options.tls.ca}`,
      `tls-cert-file ${options.tls.cert}`,
      `tls-key-file ${options.tls.key}`,
    ];
    const lines = options.sentinel !== undefined
      ? ["bind 127.0.0.1", "daemonize no", `dir ${folder}`, `port ${port}`, ...options.sentinel]
      : [
        "bind 127.0.0.1",
        "daemonize no",
        "loglevel warning",
        'save ""',
        `dir ${folder}`,
        `unixsocket ${folder}/redis.sock`,
        ...port_,
        ...options.lines ?? [],
      ];
    for (const [name, text] of Object.entries(options.files ?? {})) {
      await Deno.writeTextFile(`${folder}/${name}`, text);
    }
    await Deno.writeTextFile(`${folder}/redis.conf`, lines.join("\n") + "\n");
    try {
      await broker.restart();
    } catch (error) {
      await broker[Symbol.asyncDispose]();
      throw error;
    }
    return broker;
  }

  /** The path of its Unix socket. */
  get socket(): string {
    return `${this.folder}/redis.sock`;
  }

  /** Starts it again, after {@link kill}, with what it has kept. */
  async restart(): Promise<void> {
    await this.#process.start();
  }

  /** Ends it with SIGKILL. */
  async kill(): Promise<void> {
    await this.#process.kill();
  }

  /** Stops its process without ending it, as a machine that hangs; or lets it go on. */
  signal(signal: "SIGSTOP" | "SIGCONT"): void {
    this.#process.signal(signal);
  }

  /**
   * Runs `redis-cli` on it.
   *
   * @param args The command.
   * @param input What it reads.
   * @returns What it prints.
   */
  async cli(args: readonly string[], input?: string): Promise<string> {
    const child = this.spawnCli(args, input === undefined ? "null" : "piped");
    if (input !== undefined) {
      const writer = child.stdin.getWriter();
      await writer.write(new TextEncoder().encode(input));
      await writer.close();
    }
    const { stdout, stderr } = await child.output();
    return (new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr)).trimEnd();
  }

  /**
   * Starts `redis-cli` on it, and lets it run.
   *
   * @param args The command.
   * @param stdin Its input.
   */
  spawnCli(args: readonly string[], stdin: "null" | "piped" = "null"): Deno.ChildProcess {
    const { tls, user, password } = this.#options;
    const secure = tls === undefined
      ? []
      : ["--tls", "--cacert", tls.ca, "--cert", tls.cert, "--key", tls.key];
    const who = password === undefined
      ? []
      : ["--no-auth-warning", "--user", user ?? "default", "--pass", password];
    return new Deno.Command("redis-cli", {
      args: ["-p", String(this.port), ...secure, ...who, ...args],
      stdin,
      stdout: "piped",
      stderr: "piped",
    }).spawn();
  }

  /** Cuts every connection. New ones can be made at once. */
  async sever(): Promise<void> {
    const { user, password } = this.#options;
    const admin = new Redis({ path: this.socket, username: user, password, lazyConnect: true });
    await admin.connect();
    try {
      for (const type of ["normal", "pubsub"]) {
        await admin.call("CLIENT", "KILL", "TYPE", type, "SKIPME", "yes");
      }
    } finally {
      await new Promise<void>((resolve) => {
        admin.once("end", () => resolve());
        admin.disconnect();
      });
    }
  }

  /** Ends it, and removes its folder. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    await Deno.remove(this.folder, { recursive: true }).catch(() => {});
  }

  async #answers(): Promise<boolean> {
    if (!await listens(this.port)) return false;
    if (this.#options.tls !== undefined || this.#options.password !== undefined) return true;
    return await this.cli(["PING"]) === "PONG";
  }
}
