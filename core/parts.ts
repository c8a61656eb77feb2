/**
 * The parts of a bay that are loaded when they are first used, so that a page need not carry what it
 * never does. Elsewhere they are there already: `core/mod.ts` imports them.
 *
 * @module
 */

/** A listen: the handle that its user has, and the side that transports see. */
type Listening = typeof import("./listener.ts") & typeof import("./listener_endpoint.ts");

/** What has been loaded, each part once. */
export class Parts {
  #serving: Promise<typeof import("./callable_endpoint.ts")> | undefined;
  #speaking: Promise<typeof import("./speaker.ts")> | undefined;
  #listening: Promise<Listening> | undefined;
  #performing: Promise<typeof import("./job_endpoint.ts")> | undefined;
  #executing: Promise<typeof import("./job.ts")> | undefined;

  /** For `serve`. */
  serving(): Promise<typeof import("./callable_endpoint.ts")> {
    return this.#serving ??= import("./callable_endpoint.ts");
  }

  /** For `speaker`. */
  speaking(): Promise<typeof import("./speaker.ts")> {
    return this.#speaking ??= import("./speaker.ts");
  }

  /** For `listen`. */
  listening(): Promise<Listening> {
    return this.#listening ??= Promise.all([
      import("./listener.ts"),
      import("./listener_endpoint.ts"),
    ]).then(([handle, endpoint]) => ({ ...handle, ...endpoint }));
  }

  /** For `perform`. */
  performing(): Promise<typeof import("./job_endpoint.ts")> {
    return this.#performing ??= import("./job_endpoint.ts");
  }

  /** For `execute`. */
  executing(): Promise<typeof import("./job.ts")> {
    return this.#executing ??= import("./job.ts");
  }
}
