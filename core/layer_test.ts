import assert from "node:assert/strict";
import { Patchbay, type Plugin, type Transport, wrapTransport } from "./mod.ts";
import inProcess from "@patchbay/in_process";

/** A transport with private state that has callables only. */
class Half implements Transport<{ readonly own: string }> {
  readonly #own = "mine";
  get extras(): { readonly own: string } {
    return { own: this.#own };
  }
  health() {
    return { status: "healthy", reason: this.#own } as const;
  }
  find(pattern: string, address: string) {
    return { found: true, detail: `${this.#own} ${pattern} ${address}` } as const;
  }
  caller(address: string) {
    const start = () => assert.fail(address);
    return { start, cancel: () => {}, close: () => {} };
  }
  close(): Promise<void> {
    return Promise.resolve();
  }
}

Deno.test("layer: what is not changed is passed on, what is lacking stays lacking", async () => {
  const asked: string[] = [];
  const wrapped = wrapTransport(new Half(), {
    find: (pattern, address, native, next) => {
      asked.push(address);
      return next(pattern, `${address}/inner`, native);
    },
    serve: (endpoint, next) => next(endpoint),
  });
  assert.equal(wrapped.extras.own, "mine");
  assert.deepEqual(wrapped.health(), { status: "healthy", reason: "mine" });
  assert.deepEqual(await wrapped.find("callable", "a/b", undefined), {
    found: true,
    detail: "mine callable a/b/inner",
  });
  assert.deepEqual(asked, ["a/b"]);
  assert.equal(wrapped.serve, undefined);
  assert.equal(typeof wrapped.caller, "function");
  await wrapped.close();
});

Deno.test("layer: the first of several is outermost", async () => {
  const order: string[] = [];
  const named = (name: string) => (transport: Transport) =>
    wrapTransport(transport, {
      caller: (address, next) => {
        order.push(name);
        return next(address);
      },
    });
  const plugins: Plugin[] = [inProcess as Plugin];
  await using bay = await Patchbay.open({ plugins, layers: [named("outer"), named("inner")] });
  await bay.serve("math/add", () => 1);
  await bay.call("math/add", 1);
  assert.deepEqual(order, ["outer", "inner"]);
});
