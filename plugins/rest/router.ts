/**
 * The routes of one bay on hono's router: built anew when something comes or goes; 405 with `Allow`
 * where only the method is wrong.
 *
 * @module
 */

import { type Context, Hono, type MiddlewareHandler } from "npm:hono@4.13.19";
import { PatchbayError } from "@patchbay/core";
import type { Visit } from "./exchange.ts";
import { METHODS } from "./names.ts";
import { problemResponse } from "./statuses.ts";

/** What hono knows of a request: the visit stands where it keeps its bindings. */
export type RestContext = Context<{ Bindings: Visit }>;

/** Answers the requests of one route. */
export type Answer = (context: RestContext) => Response | Promise<Response>;

/** One route. */
export interface Route {
  /** The method. */
  readonly method: string;
  /** The path, with parameters as `:name`. */
  readonly path: string;
  /** What it is for, in messages: an address, or the name of a document. */
  readonly what: string;
  /** Answers. */
  readonly answer: Answer;
}

/** Routes are the same if they differ in the names of parameters only. */
function keyOf(route: Route): string {
  return `${route.method} ${route.path.replace(/:[^/]+/g, ":")}`;
}

/** The routes, and what stands before and behind them. */
export class Router {
  readonly #routes = new Map<string, Route>();
  readonly #before: readonly MiddlewareHandler[];
  readonly #otherwise: Answer;
  readonly #failed: (error: unknown) => Response;
  #app: Hono<{ Bindings: Visit }> | undefined;

  /**
   * @param before What every request passes first, in order.
   * @param otherwise Answers what no route has.
   * @param failed Answers what threw.
   */
  constructor(
    before: readonly MiddlewareHandler[],
    otherwise: Answer,
    failed: (error: unknown) => Response,
  ) {
    this.#before = before;
    this.#otherwise = otherwise;
    this.#failed = failed;
  }

  /**
   * Adds a route.
   *
   * @param route The route.
   * @returns Takes it out again.
   * @throws {PatchbayError} `unavailable`: its method and path are taken.
   */
  add(route: Route): () => void {
    const key = keyOf(route);
    const taken = this.#routes.get(key);
    if (taken !== undefined) {
      throw new PatchbayError(
        "unavailable",
        `${route.what}: ${route.method} ${route.path} is taken by ${taken.what}`,
        {
          transport: "rest",
          retryable: false,
          remedy: 'give it another path: native: { rest: { path: "/…" } }',
        },
      );
    }
    this.#routes.set(key, route);
    this.#app = undefined;
    return () => {
      if (this.#routes.get(key) !== route) return;
      this.#routes.delete(key);
      this.#app = undefined;
    };
  }

  /** Answers a request. */
  fetch(request: Request, visit: Visit): Response | Promise<Response> {
    return (this.#app ??= this.#build()).fetch(request, visit);
  }

  #build(): Hono<{ Bindings: Visit }> {
    const app = new Hono<{ Bindings: Visit }>();
    for (const one of this.#before) app.use(one);
    const allowed = new Map<string, Set<string>>();
    // Paths without parameters first: hono takes what was added first.
    const routes = [...this.#routes.values()].sort((a, b) =>
      Number(a.path.includes(":")) - Number(b.path.includes(":"))
    );
    for (const { method, path, answer } of routes) {
      app.on(method, path, answer);
      let methods = allowed.get(path);
      if (methods === undefined) allowed.set(path, methods = new Set());
      methods.add(method);
      if (method === "GET") methods.add("HEAD");
    }
    for (const [path, methods] of allowed) {
      const allow = [...methods, "OPTIONS"].join(", ");
      // One handler a route: with two hono composes them for every request.
      const others = METHODS.filter((method) => !methods.has(method));
      const refuse: Answer = (context) => notAllowed(context.req.method, path, allow);
      for (const method of others) app.on(method, path, refuse);
      app.on("OPTIONS", path, () => new Response(null, { status: 204, headers: { allow } }));
    }
    app.notFound((context) => this.#otherwise(context));
    app.onError((error) => this.#failed(error));
    return app;
  }
}

function notAllowed(method: string, path: string, allow: string): Response {
  const error = new PatchbayError("invalid", `${path} knows no ${method}`, {
    details: { allow },
    remedy: `use ${allow}`,
  });
  return problemResponse(error, 405, { allow });
}
