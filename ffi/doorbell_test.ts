/**
 * Doorbells over real sockets, between real processes.
 *
 * @module
 */
import assert from "node:assert/strict";
import { requireOrIgnore } from "../tests/require.ts";
import { Doorbell, DoorbellReader, libcAvailability } from "./mod.ts";
import { Child, code } from "./testdata/spawn.ts";

const CHILD = new URL("./testdata/child.ts", import.meta.url);
const here = await requireOrIgnore("libc", libcAvailability, "pass --allow-ffi");

function test(
  name: string,
  fn: (listener: Deno.Listener, path: string) => void | Promise<void>,
): void {
  Deno.test({
    name: here.name(`doorbell: ${name}`),
    ignore: here.ignore,
    fn: async () => {
      const folder = await Deno.makeTempDir({ prefix: "pb-" });
      const path = `${folder}/bell`;
      try {
        using listener = Deno.listen({ transport: "unix", path });
        await fn(listener, path);
      } finally {
        await Deno.remove(folder, { recursive: true });
      }
    },
  });
}

test("a ring is heard, by who waits and by who comes later", async (listener, path) => {
  using bell = Doorbell.connect(path);
  using reader = new DoorbellReader(await listener.accept());
  const waiting = reader.wait();
  assert.equal(bell.ring(), true);
  assert.equal(await waiting, "rung");
  for (let i = 0; i < 3; i++) bell.ring();
  assert.equal(await reader.wait(), "rung");
  const next = reader.wait();
  bell.ring();
  assert.equal(await next, "rung");
});

test("a full socket is rung already, and never waits", async (listener, path) => {
  using bell = Doorbell.connect(path);
  using reader = new DoorbellReader(await listener.accept());
  for (let i = 0; i < 5000; i++) assert.equal(bell.ring(), true);
  assert.equal(await reader.wait(), "rung");
});

test("who hangs up is noticed on both sides", async (listener, path) => {
  using bell = Doorbell.connect(path);
  using reader = new DoorbellReader(await listener.accept());
  const waiting = reader.wait();
  bell[Symbol.dispose]();
  bell[Symbol.dispose]();
  assert.equal(await waiting, "closed");
  assert.equal(code(() => bell.ring()), "closed");

  using second = Doorbell.connect(path);
  const answered = new DoorbellReader(await listener.accept());
  const ended = answered.wait();
  answered[Symbol.dispose]();
  answered[Symbol.dispose]();
  assert.equal(await ended, "closed");
  assert.equal(await answered.wait(), "closed");
  assert.equal(second.ring(), false);
  assert.equal(second.ring(), false);
});

test("a process that is killed hangs up", async (listener, path) => {
  await using child = new Child(CHILD, ["ring bell", path]);
  using reader = new DoorbellReader(await listener.accept());
  assert.equal(await reader.wait(), "rung");
  assert.equal(await child.line(), "rung");
  child.kill();
  assert.equal(await reader.wait(), "closed");
});

test("where nobody listens there is no bell", (listener, path) => {
  assert.equal(code(() => Doorbell.connect(`${path}-none`)), "not_found");
  assert.equal(code(() => Doorbell.connect("")), "invalid");
  assert.equal(code(() => Doorbell.connect("a\0b")), "invalid");
  assert.equal(code(() => Doorbell.connect(`/${"x".repeat(107)}`)), "invalid");
  listener.close();
  assert.match(code(() => Doorbell.connect(path)), /unavailable|not_found/);
});
