/**
 * The roles that the far side of a case can play, and the stage on which it plays them: a bay whose
 * endpoints are started and questioned in JSON, so that they can be in another process.
 *
 * @module
 */

import type { Bay } from "../bay.ts";
import { open } from "../open.ts";
import type { Json, Meeting, Overrides } from "./plugin_fixture.ts";
import { caller, server } from "./roles_callable.ts";
import { owner, worker } from "./roles_job.ts";
import { listener, speaker } from "./roles_speaker.ts";

/** What a role is started or questioned with. */
export type Args = Readonly<Record<string, Json>>;

/** A role that is being played. */
export interface Playing {
  /** Answers a question; may wait until there is an answer. */
  ask(question: string, args: Args): Promise<Json | undefined>;
  /** Takes it off the wire. */
  close(): Promise<void>;
  /** Lets go of what it holds back: the case is over. */
  letGo?(): void;
}

/** Starts to play. */
export type Role = (bay: Bay, args: Args) => Promise<Playing>;

/** The name of a role. */
export type RoleName = "server" | "caller" | "speaker" | "listener" | "worker" | "owner";

/** The roles by name. */
export const ROLES: Readonly<Record<RoleName, Role>> = {
  server,
  caller,
  speaker,
  listener,
  worker,
  owner,
};

/** What the far side can be told. */
export type Order =
  | { readonly do: "open"; readonly module: string; readonly overrides: Overrides }
  | { readonly do: "start"; readonly role: RoleName; readonly args: Args }
  | {
    readonly do: "ask";
    readonly playing: number;
    readonly question: string;
    readonly args: Args;
  }
  | { readonly do: "stop"; readonly playing: number }
  | { readonly do: "close" }
  | { readonly do: "end" }
  | { readonly do: "statistics" };

/** One far side: at most one bay at a time, and the roles it plays. */
export class Stage {
  readonly #meeting: Meeting;
  readonly #playing: Playing[] = [];
  #bay: Bay | undefined;

  /**
   * @param meeting Where to open the bay.
   * @param bay A bay to use instead of opening one.
   */
  constructor(meeting: Meeting, bay?: Bay) {
    this.#meeting = meeting;
    this.#bay = bay;
  }

  /**
   * Does as it is told.
   *
   * @param order What to do.
   */
  async obey(order: Order): Promise<Json | undefined> {
    switch (order.do) {
      case "open":
        this.#bay = await open(this.#meeting.options(order.module, order.overrides));
        return this.#bay.identity.id;
      case "start": {
        const playing = await ROLES[order.role](this.#open(), order.args);
        return this.#playing.push(playing) - 1;
      }
      case "ask":
        return await this.#playing[order.playing].ask(order.question, order.args);
      case "stop":
        return void await this.#playing[order.playing].close();
      case "close":
        return void await this.#bay?.close();
      case "end":
        for (const playing of this.#playing) playing.letGo?.();
        return void await this.#bay?.close();
      case "statistics":
        return JSON.parse(JSON.stringify(this.#open().statistics.snapshot(Date.now())));
    }
  }

  #open(): Bay {
    if (this.#bay === undefined) throw new Error("the far side has no bay yet");
    return this.#bay;
  }
}
