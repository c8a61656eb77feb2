/**
 * Callables on the far side: servers with every temper a server can have, and a caller.
 *
 * @module
 */

import type { Bay } from "../bay.ts";
import type { HandlerContext } from "../callable.ts";
import { defineCallable } from "../contract.ts";
import { PatchbayError } from "../errors.ts";
import type { StandardSchema } from "../schema.ts";
import type { Json } from "./plugin_fixture.ts";
import { describe, make } from "./recipes.ts";
import type { Role } from "./roles.ts";
import { Gate, Tally } from "./tally.ts";

/** What a {@link server} does with a request. */
export type ServerKind =
  /** Returns it. */
  | "echo"
  /** Returns a promise of it. */
  | "echo_later"
  /** Returns the exact description of it. */
  | "describe"
  /** Takes the request as a recipe's name and returns that value. */
  | "make"
  /** Returns what the context says. */
  | "context"
  /** Returns its tag. */
  | "tag"
  /** Returns nothing. */
  | "nothing"
  /** Answers when it is released. */
  | "gate"
  /** Never answers, whatever its signal says. */
  | "hang"
  /** Throws, in the manner that the request names. */
  | "throw";

/** A Standard Schema by hand: takes numeric text, gives a number, in one turn or later. */
export function numericText(later = false): StandardSchema<string, number> {
  const check = (value: unknown) =>
    typeof value === "string" && value !== "" && Number.isFinite(Number(value))
      ? { value: Number(value) }
      : { issues: [{ message: "must be numeric text", path: ["text"] }] };
  return {
    "~standard": {
      version: 1,
      vendor: "conformance",
      validate: (value) => later ? Promise.resolve(check(value)) : check(value),
    },
  };
}

function throwAs(manner: unknown): never {
  switch (manner) {
    case "error":
      throw new RangeError("the handler's own words");
    case "coded":
      throw Object.assign(new Error("with a code"), { code: "EHANDLER" });
    case "patchbay":
      throw new PatchbayError("forbidden", "not for you", {
        details: { need: "a key" },
        remedy: "ask the porter",
      });
    case "text":
      throw "only text";
    default:
      throw undefined;
  }
}

/** Serves an address as its `kind` says. */
export const server: Role = async (bay: Bay, args) => {
  const kind = args.kind as ServerKind;
  const entered = new Tally<string>();
  const aborted = new Tally<string>();
  const gate = new Gate();
  const answer = (value: unknown, context: HandlerContext): unknown => {
    switch (kind) {
      case "echo":
        return value;
      case "echo_later":
        return Promise.resolve(value);
      case "describe":
        return describe(value);
      case "make":
        return make(value as string);
      case "context":
        return {
          headers: { ...context.headers },
          peer: { ...context.peer },
          address: context.address,
          remainingMs: context.remainingMs === Infinity ? "Infinity" : context.remainingMs,
          aborted: context.signal.aborted,
        };
      case "tag":
        return args.tag;
      case "nothing":
        return undefined;
      case "gate":
        return gate.opened.then(() => value);
      case "hang":
        return new Promise(() => {});
      case "throw":
        if ((value as { later?: boolean }).later) {
          return Promise.resolve().then(() => throwAs((value as { manner: string }).manner));
        }
        return throwAs((value as { manner: string }).manner);
    }
  };
  const contract = defineCallable({
    address: args.address as string,
    request: args.request === undefined ? undefined : numericText(args.request === "later"),
    response: args.response === undefined ? undefined : numericText(args.response === "later"),
  });
  const served = await bay.serve(contract, (value, context) => {
    if (kind === "gate" || kind === "hang") {
      const name = () => aborted.add(String((context.signal.reason as Error)?.name));
      if (context.signal.aborted) name();
      else context.signal.addEventListener("abort", name, { once: true });
    }
    entered.add(describe(value));
    return answer(value, context) as string;
  }, {
    sharing: args.sharing as "shared" | undefined,
    maxConcurrent: args.maxConcurrent as number | undefined,
  });
  return {
    ask: async (question, more) => {
      switch (question) {
        case "entered":
          return (await entered.reach(more.count as number)).slice();
        case "count":
          return entered.count;
        case "aborted":
          return (await aborted.reach(more.count as number)).slice();
        case "release":
          gate.open();
          return null;
      }
      throw new Error(`a server does not know ${question}`);
    },
    letGo: gate.open,
    close: async () => {
      gate.open();
      await served.close();
    },
  };
};

/** Calls an address: at once, or so that the outcome can be asked for later. */
export const caller: Role = (bay: Bay, args) => {
  const callable = bay.callable(args.address as string);
  const outcomes: Promise<Json>[] = [];
  const outcome = async (more: Readonly<Record<string, Json>>): Promise<Json> => {
    try {
      const value = await callable.call(more.value, {
        timeoutMs: more.timeoutMs as number | undefined,
        headers: more.headers as Record<string, string> | undefined,
      });
      return { value: describe(value) };
    } catch (error) {
      return { code: error instanceof PatchbayError ? error.code : String(error) };
    }
  };
  return Promise.resolve({
    ask: async (question, more) => {
      if (question === "call") return await outcome(more);
      if (question === "begin") return outcomes.push(outcome(more)) - 1;
      if (question === "outcome") return await outcomes[more.index as number];
      throw new Error(`a caller does not know ${question}`);
    },
    close: () => Promise.resolve(),
  });
};
