/**
 * Four wires of one test, each with bays of its own, for bridges to join.
 *
 * @module
 */

import { type Bay, open, type OpenOptions, type Plugin } from "@patchbay/core";
import { HostDirectory, openRuntimeDir } from "@patchbay/host";
import inProcess, { Room } from "@patchbay/in_process";
import sharedMemory from "@patchbay/shared_memory";
import uds from "@patchbay/uds";
import websocket from "@patchbay/websocket";
import { freePort } from "@patchbay/core/conformance";

/** A wire of the world. */
export type WireName = "in_process" | "uds" | "shared_memory" | "websocket";

const PLUGINS: Readonly<Record<WireName, Plugin>> = {
  in_process: inProcess as Plugin,
  uds: uds as Plugin,
  shared_memory: sharedMemory as Plugin,
  websocket: websocket as Plugin,
};

/** Four wires. Closing it closes every bay that was opened in it, the last one first. */
export class World implements AsyncDisposable {
  readonly #parent: string;
  readonly #room = new Room();
  readonly #port = freePort();
  readonly #bays: Bay[] = [];

  private constructor(parent: string) {
    this.#parent = parent;
  }

  /** Makes the place; a hub for websocket if it is to have one. */
  static async make(): Promise<World> {
    const world = new World(await Deno.makeTempDir({ prefix: "pb-" }));
    openRuntimeDir({ path: world.path });
    return world;
  }

  /** The runtime directory. */
  get path(): string {
    return `${this.#parent}/run`;
  }

  /** Where websocket's hub listens. */
  get url(): string {
    return `ws://127.0.0.1:${this.#port}`;
  }

  /**
   * How to open a bay on some wires.
   *
   * @param module Its name.
   * @param wires Its wires.
   * @param hub Whether it is the hub of websocket.
   */
  options(module: string, wires: readonly WireName[], hub = false): OpenOptions {
    const quick = { reconnectMinMs: 10, reconnectMaxMs: 100, connectTimeoutMs: 1000 };
    const listen = { hostname: "127.0.0.1", port: this.#port };
    const all = {
      in_process: { room: this.#room },
      uds: quick,
      shared_memory: quick,
      websocket: { ...quick, rejoinMs: 1500, ...(hub ? { listen } : { url: this.url }) },
    };
    const { path } = this;
    const listed = wires.includes("uds") || wires.includes("shared_memory");
    return {
      module,
      plugins: wires.map((wire) => PLUGINS[wire]),
      config: Object.fromEntries(wires.map((wire) => [wire, all[wire]])),
      // The others know nothing of this host, as if they were somewhere else.
      ...(listed
        ? {
          directory: (identity) =>
            HostDirectory.open(identity, { path, processWires: ["in_process"] }),
        }
        : {}),
    };
  }

  /**
   * Opens a bay.
   *
   * @param module Its name.
   * @param wires Its wires.
   * @param more What else it is opened with.
   */
  async open(
    module: string,
    wires: readonly WireName[],
    more: Partial<OpenOptions> & { hub?: boolean } = {},
  ): Promise<Bay> {
    const { hub, ...rest } = more;
    const bay = await open({ ...this.options(module, wires, hub), ...rest });
    this.#bays.push(bay);
    return bay;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const bay of this.#bays.reverse()) await bay.close();
    await Deno.remove(this.#parent, { recursive: true });
  }
}
