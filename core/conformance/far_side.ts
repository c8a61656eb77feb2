/**
 * The far side of a case: a stage in this process, or in a program of its own that is told what to
 * do in lines of JSON.
 *
 * @module
 */

import type { Bay } from "../bay.ts";
import { PatchbayError } from "../errors.ts";
import type { StatisticsSnapshot } from "../statistics.ts";
import { FarProcess, type FarProgram, type Reply } from "./far_program.ts";
import type { Fixture, Json, Meeting, Overrides } from "./plugin_fixture.ts";
import { type Args, type Order, type RoleName, Stage } from "./roles.ts";

/** A role that the far side plays. */
export interface FarRole {
  /**
   * Asks it something; the answer may take until there is one.
   *
   * @param question What the role understands.
   * @param args What belongs to the question.
   */
  ask<T = Json>(question: string, args?: Args): Promise<T>;
  /** Takes it off the wire. */
  close(): Promise<void>;
}

/** The other side of the wire. */
export interface FarSide {
  /**
   * Has it play a role.
   *
   * @param role Which.
   * @param args How.
   */
  start(role: RoleName, args: Args): Promise<FarRole>;
  /** What its bay has counted. */
  statistics(): Promise<StatisticsSnapshot>;
  /** Closes its bay in an orderly way. */
  close(): Promise<void>;
  /** Opens a new bay there, under the same module name, after the first was closed. */
  reopen(): Promise<void>;
  /** Kills its process with SIGKILL. Only in two processes. */
  kill(): Promise<void>;
  /** Ends it: closes its bay, and has its process end by itself. Resolves with the exit code. */
  end(): Promise<number>;
}

/** The module name of the far side. */
export const FAR_MODULE = "far";

abstract class Far implements FarSide {
  readonly #overrides: Overrides;

  constructor(overrides: Overrides) {
    this.#overrides = overrides;
  }

  abstract order(order: Order): Promise<Json | undefined>;
  abstract kill(): Promise<void>;
  abstract end(): Promise<number>;

  async start(role: RoleName, args: Args): Promise<FarRole> {
    const playing = await this.order({ do: "start", role, args }) as number;
    return {
      ask: <T>(question: string, more: Args = {}) => {
        const answer = this.order({ do: "ask", playing, question, args: more });
        // Who asks a process that then dies may no longer be waiting.
        answer.catch(() => {});
        return answer as Promise<T>;
      },
      close: async () => void await this.order({ do: "stop", playing }),
    };
  }

  async statistics(): Promise<StatisticsSnapshot> {
    return await this.order({ do: "statistics" }) as unknown as StatisticsSnapshot;
  }

  async close(): Promise<void> {
    await this.order({ do: "close" });
  }

  async reopen(): Promise<void> {
    await this.order({ do: "open", module: FAR_MODULE, overrides: this.#overrides });
  }
}

/** In this process; what is said goes through JSON all the same. */
class FarHere extends Far {
  readonly #stage: Stage;

  constructor(stage: Stage, overrides: Overrides) {
    super(overrides);
    this.#stage = stage;
  }

  async order(order: Order): Promise<Json | undefined> {
    const answer = await this.#stage.obey(JSON.parse(JSON.stringify(order)) as Order);
    return answer === undefined ? undefined : JSON.parse(JSON.stringify(answer));
  }

  kill(): Promise<void> {
    return Promise.reject(new Error("only a process of its own can be killed"));
  }

  async end(): Promise<number> {
    await this.order({ do: "end" });
    return 0;
  }
}

/** In a program of its own: a child process, or what the meeting starts instead. */
class FarThere extends Far {
  readonly #program: FarProgram;
  readonly #pending = new Map<number, PromiseWithResolvers<Json | undefined>>();
  readonly #reading: Promise<void>;
  #last = 0;
  #ended: Promise<number> | undefined;
  #killed = false;

  constructor(program: FarProgram, overrides: Overrides) {
    super(overrides);
    this.#program = program;
    this.#reading = this.#read();
  }

  async #read(): Promise<void> {
    for await (const line of this.#program.lines) this.#answered(JSON.parse(line) as Reply);
    for (const { reject } of this.#pending.values()) {
      reject(new Error("the far process has ended"));
    }
    this.#pending.clear();
  }

  #answered(reply: Reply): void {
    const pending = this.#pending.get(reply.id);
    this.#pending.delete(reply.id);
    if (reply.error === undefined) pending?.resolve(reply.value);
    else pending?.reject(PatchbayError.fromWire(reply.error));
  }

  async order(order: Order): Promise<Json | undefined> {
    const id = ++this.#last;
    const pending = Promise.withResolvers<Json | undefined>();
    this.#pending.set(id, pending);
    pending.promise.catch(() => {});
    try {
      await this.#program.tell(JSON.stringify({ id, order }));
    } catch {
      pending.reject(new Error("the far process has ended"));
    }
    return await pending.promise;
  }

  async kill(): Promise<void> {
    this.#killed = true;
    await this.#program.kill();
    await this.end();
  }

  end(): Promise<number> {
    this.#ended ??= (async () => {
      const code = await this.#program.end();
      await this.#reading;
      return this.#killed ? 0 : code;
    })();
    return this.#ended;
  }
}

/**
 * Opens a far side.
 *
 * @param fixture The plugin's fixture.
 * @param meeting Where to meet.
 * @param near The near bay, if the far side is to be the same.
 * @param layout Where it lives.
 * @param overrides How to open its bay.
 */
export async function openFarSide(
  fixture: Fixture,
  meeting: Meeting,
  near: Bay,
  layout: "alone" | "same_process" | "two_processes",
  overrides: Overrides,
): Promise<FarSide> {
  if (layout === "alone") return new FarHere(new Stage(meeting, near), overrides);
  const far = layout === "same_process" ? new FarHere(new Stage(meeting), overrides) : new FarThere(
    await meeting.program?.() ?? new FarProcess(fixture.url, meeting.place ?? null),
    overrides,
  );
  try {
    await far.reopen();
  } catch (error) {
    await far.end().catch(() => {});
    throw error;
  }
  return far;
}
