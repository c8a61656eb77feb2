/**
 * Gathers commands into pipelines: the first goes at once, those that come while one is under way
 * go together at the end of the turn.
 *
 * ioredis can gather by itself (`enableAutoPipelining`, which all other commands here use), but
 * makes four promises for each command, sends nothing before the end of the turn, and has one
 * pipeline under way at a time.
 *
 * @module
 */

import type { Buffer } from "node:buffer";
import type { Client, Connections } from "./connections.ts";

/** An argument of a command. */
export type Arg = string | Buffer;

/** The end of a command. */
export type Done = (error: unknown, result: unknown) => void;

/** Commands that are sent so often that it matters how. */
export type Verb = "xadd" | "xack" | "xdel" | "publish" | "spublish";

/** A command by its name, on a connection or a pipeline. */
type Verbs = Readonly<Record<Verb, (...args: Arg[]) => unknown>>;

/** The commands of one bay, in the order in which they are given. */
export class Sender {
  readonly #connections: Connections;
  #pipeline: ReturnType<Client["pipeline"]> | undefined;
  #dones: Done[] = [];
  /** How many pipelines are under way. */
  #underWay = 0;

  /** @param connections The connections. */
  constructor(connections: Connections) {
    this.#connections = connections;
  }

  /**
   * Sends a command.
   *
   * @param verb Its name.
   * @param args Its arguments.
   * @param done Called once, with the answer or with what went wrong.
   */
  send(verb: Verb, args: Arg[], done: Done): void {
    const { main, clustered } = this.#connections;
    if (clustered) {
      // Each node has a pipeline of its own: ioredis knows which.
      const sent = (main as unknown as Verbs)[verb](...args) as Promise<unknown>;
      sent.then((result) => done(undefined, result), (error) => done(error, undefined));
      return;
    }
    if (this.#pipeline === undefined) {
      this.#pipeline = main.pipeline();
      if (this.#underWay === 0) queueMicrotask(this.#flush);
      else setImmediate(this.#flush);
    }
    (this.#pipeline as unknown as Verbs)[verb](...args);
    this.#dones.push(done);
  }

  readonly #flush = (): void => {
    const pipeline = this.#pipeline;
    if (pipeline === undefined) return;
    const dones = this.#dones;
    this.#pipeline = undefined;
    this.#dones = [];
    this.#underWay++;
    pipeline.exec((failure, results) => {
      this.#underWay--;
      for (let i = 0; i < dones.length; i++) {
        const [error, result] = results?.[i] ?? [failure, undefined];
        dones[i](error ?? undefined, result);
      }
    });
  };
}
