/**
 * Two hosts with a cable between them, made of network namespaces: multicast and datagrams go over
 * real interfaces, and leave the machine nowhere.
 *
 * @module
 */

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { requireOrIgnore } from "../../require.ts";

async function run(command: string, ...args: string[]): Promise<void> {
  const options = { args, stdin: "null", stdout: "piped", stderr: "piped" } as const;
  const { success, stderr } = await new Deno.Command(command, options).output();
  if (!success) {
    throw new Error(`${command} ${args.join(" ")}: ${new TextDecoder().decode(stderr)}`);
  }
}

/** Two network namespaces with a pair of virtual interfaces between them. */
async function hosts(): Promise<{ names: [string, string] } & AsyncDisposable> {
  const id = crypto.randomUUID().slice(0, 6);
  const names: [string, string] = [`pb-${id}-a`, `pb-${id}-b`];
  const remove = async () => {
    // With a namespace go its interfaces.
    for (const name of names) await run("ip", "netns", "delete", name).catch(() => {});
  };
  try {
    for (const name of names) await run("ip", "netns", "add", name);
    const cable = ["link", "add", `pb${id}a`, "netns", names[0], "type", "veth"];
    await run("ip", ...cable, "peer", "name", `pb${id}b`, "netns", names[1]);
    for (const [i, name] of names.entries()) {
      const device = `pb${id}${"ab"[i]}`;
      const inside = (...args: string[]) => run("ip", "-n", name, ...args);
      await inside("link", "set", "lo", "up");
      await inside("address", "add", `10.77.0.${i + 1}/24`, "dev", device);
      await inside("link", "set", device, "up");
    }
  } catch (error) {
    await remove();
    throw error;
  }
  return { names, [Symbol.asyncDispose]: remove };
}

const needed = await requireOrIgnore(
  "netns",
  async () => {
    await using _hosts = await hosts();
    return true;
  },
  "run as root on Linux, with iproute2 installed",
);

Deno.test({
  name: needed.name("two hosts: they find each other by multicast, and large samples arrive"),
  ignore: needed.ignore,
  fn: async () => {
    await using two = await hosts();
    const program = "../../../plugins/ros2/rtps/testdata/far_program.ts";
    const domain = String(1 + crypto.getRandomValues(new Uint8Array(1))[0] % 200);
    const config = fileURLToPath(new URL("../../../deno.json", import.meta.url));
    const start = (host: string, role: string) =>
      new Deno.Command("ip", {
        args: [
          "netns",
          "exec",
          host,
          Deno.execPath(),
          "run",
          "-A",
          "--unstable-net",
          "--config",
          config,
          fileURLToPath(new URL(program, import.meta.url)),
          role,
          domain,
        ],
        stdin: "piped",
        stdout: "piped",
        stderr: "inherit",
      }).spawn();
    const echo = start(two.names[0], "echo");
    const ask = start(two.names[1], "ask");
    await ask.stdin.close();
    const { success, stdout } = await ask.output();
    await echo.stdin.close();
    await echo.output();
    assert.ok(success);
    // It knows both of the other's interfaces, and that loopback is not the way.
    assert.match(new TextDecoder().decode(stdout), /right 127\.0\.0\.1,10\.77\.0\.1\n/);
  },
});
