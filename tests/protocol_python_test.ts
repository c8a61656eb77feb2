/**
 * A client in another language, written from docs/protocol.md alone, against a real bay.
 *
 * @module
 */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { Patchbay } from "@patchbay/core";
import { HostDirectory, openRuntimeDir, socketPath } from "@patchbay/host";
import uds from "@patchbay/uds";
import { requireOrIgnore } from "./require.ts";

const CLIENT = fileURLToPath(new URL("interop/python_session.py", import.meta.url));

const python = await requireOrIgnore("python3", async () => {
  const { success } = await new Deno.Command("python3", { args: ["--version"] }).output();
  return success;
}, "apt-get install python3");

Deno.test({
  name: python.name("a client in Python, made from docs/protocol.md alone, calls and listens"),
  ignore: python.ignore,
  fn: async () => {
    const parent = await Deno.makeTempDir({ prefix: "pb-" });
    try {
      const path = openRuntimeDir({ path: `${parent}/run` });
      await using bay = await Patchbay.open({
        plugins: [uds],
        module: "tower",
        directory: (identity) => HostDirectory.open(identity, { path }),
      });
      await bay.serve<{ a: number; b: number }, unknown>("tower/add", ({ a, b }, context) => ({
        sum: a + b,
        from: context.headers.from ?? null,
        peer: context.peer.module,
        patient: context.remainingMs > 0 && context.remainingMs <= 10_000,
      }));
      await bay.serve("tower/echo", (value) => value);
      await bay.serve<number, string>("tower/large", (n) => "y".repeat(n));
      await bay.serve("tower/throws", () => {
        throw new Error("as planned");
      });
      const speaker = await bay.speaker<{ n: number; filler: string }>("tower/tick");
      await bay.serve<number, number>("tower/shout", (count) => {
        // Far more than one window: without credit from the other side it would stop.
        for (let n = 0; n < count; n++) void speaker.shout({ n, filler: "z".repeat(1000) });
        return count;
      });
      const { code, stdout, stderr } = await new Deno.Command("python3", {
        args: [CLIENT, socketPath(path, "tower")],
        stdout: "piped",
        stderr: "piped",
      }).output();
      const text = new TextDecoder();
      assert.equal(code, 0, text.decode(stderr));
      const told = text.decode(stdout).trim().split("\n").map((line) => JSON.parse(line));
      const sum = (n: number, from: string | null) => ({
        sum: n,
        from,
        peer: "snake",
        patient: true,
      });
      assert.deepEqual(told, [
        ["hello", "tower", 1, ["json"]],
        ["response", sum(5, "python")],
        ["response", "x".repeat(5000)],
        ["response", 100_000],
        ["not_found"],
        [{ code: "remote", message: "as planned", details: { name: "Error" } }],
        [true],
        ["events", 300, ["tower/tick", 0], ["tower/tick", 299], true, 300],
        ["response", sum(2, null)],
      ]);
    } finally {
      await Deno.remove(parent, { recursive: true });
    }
  },
});
