/**
 * Speakers and listeners on the far side.
 *
 * @module
 */

import type { Bay } from "../bay.ts";
import { PatchbayError } from "../errors.ts";
import type { EventContext, Listener, ListenOptions } from "../listener.ts";
import type { Json } from "./plugin_fixture.ts";
import { describe, make } from "./recipes.ts";
import type { Role } from "./roles.ts";
import { Gate, Tally } from "./tally.ts";

/** Shouts when asked to. */
export const speaker: Role = async (bay: Bay, args) => {
  const made = await bay.speaker(args.address as string, { retain: args.retain === true });
  const blocked = new Tally<number>();
  let sent = 0;
  let running: Promise<string> = Promise.resolve("idle");
  const shoutRange = async (more: Readonly<Record<string, Json>>): Promise<string> => {
    try {
      const [from, to] = more.range as [number, number];
      for (let i = from; i <= to; i++) {
        const wait = made.shout(i, {
          headers: more.headers as Record<string, string> | undefined,
          priority: more.priority as number | undefined,
        });
        if (wait !== undefined) {
          blocked.add(i);
          await wait;
        } else if (more.yielding === true) await Promise.resolve();
        sent++;
      }
      return "done";
    } catch (error) {
      return error instanceof PatchbayError ? error.code : String(error);
    }
  };
  return {
    ask: async (question, more) => {
      switch (question) {
        case "shout":
          return await shoutRange(more);
        case "make":
          await made.shout(make(more.recipe as string));
          return null;
        case "begin":
          running = shoutRange(more);
          return null;
        case "finished":
          return await running;
        case "sent":
          return sent;
        case "blocked":
          await blocked.reach(more.count as number);
          return sent;
        case "listeners":
          return made.listeners;
      }
      throw new Error(`a speaker does not know ${question}`);
    },
    close: () => made.close(),
  };
};

/** Listens: reads all, holds its hands over its ears, reads when told to, or throws at each. */
export const listener: Role = async (bay: Bay, args) => {
  const heard = new Tally<Json>();
  const gate = new Gate();
  const note = (value: unknown, context: EventContext) =>
    heard.add({
      value: typeof value === "number" ? value : describe(value),
      address: context.address,
      sequence: context.sequence,
      origin: context.origin,
      headers: { ...context.headers },
      priority: context.priority,
      retained: context.retained,
    });
  const pattern = args.pattern as string;
  const options = (args.options ?? {}) as ListenOptions;
  let made: Listener<unknown>;
  let reading: Promise<string> = Promise.resolve("idle");
  if (args.kind === "unread") {
    made = await bay.listen(pattern, options);
  } else {
    made = await bay.listen(pattern, (value, context) => {
      note(value, context);
      if (args.kind === "throw") throw new Error(`no ear for ${value}`);
      if (args.kind === "gate") return gate.opened;
    }, options);
  }
  const read = async (): Promise<string> => {
    try {
      for await (const { value, context } of made.events()) note(value, context);
      return "done";
    } catch (error) {
      return error instanceof PatchbayError ? error.code : String(error);
    }
  };
  return {
    ask: async (question, more) => {
      switch (question) {
        case "heard":
          return (await heard.reach(more.count as number)).slice();
        case "count":
          return heard.count;
        case "queued":
          return made.queued;
        case "read":
          reading = read();
          return null;
        case "finished":
          return await reading;
        case "release":
          gate.open();
          return null;
      }
      throw new Error(`a listener does not know ${question}`);
    },
    letGo: gate.open,
    close: async () => {
      gate.open();
      await made.close();
    },
  };
};
