/**
 * Holds `docs/json_protocol.md` to the truth: its examples run as foreign clients, its tables name
 * every message.
 *
 * @module
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { Patchbay } from "@patchbay/core";
import websocket from "@patchbay/websocket";
import { PROJECT_ROOT } from "../tools/workspace.ts";
import { pythonWith, written } from "./python.ts";
import { requireOrIgnore } from "./require.ts";

const DOCUMENT = await Deno.readTextFile(join(PROJECT_ROOT, "docs/json_protocol.md"));
const EXPECTED = ["event home", "at 3", "feedback half", "zeroed"];

/** The code of one example. */
function example(name: string): string {
  const fence = "```";
  const pattern = new RegExp(`<!-- example:${name} -->\\s*${fence}\\w+[^\\n]*\\n([^]*?)${fence}`);
  const code = pattern.exec(DOCUMENT)?.[1];
  assert.ok(code !== undefined, `no example in ${name}`);
  return code;
}

/** The hub that the examples expect. */
async function place() {
  const hub = await Patchbay.open({
    module: "arm",
    plugins: [websocket],
    config: { websocket: { listen: { port: 0 } } },
  });
  const pose = await hub.speaker("arm/pose");
  await hub.serve("arm/move", async (to) => {
    await pose.shout("home");
    return `at ${to}`;
  });
  await hub.perform<unknown, string, string>("arm/calibrate", (_goal, { feedback }) => {
    feedback("half");
    return "zeroed";
  });
  return { hub, url: hub.transport(websocket).url };
}

/** Where Deno keeps a package that it has installed. */
async function installed(name: string, version: string): Promise<string | undefined> {
  const { stdout } = await new Deno.Command(Deno.execPath(), { args: ["info", "--json"] }).output();
  const { npmCache } = JSON.parse(new TextDecoder().decode(stdout)) as { npmCache: string };
  for await (const registry of Deno.readDir(npmCache)) {
    const folder = join(npmCache, registry.name, name, version);
    const found = await Deno.stat(join(folder, "package.json")).then(() => true, () => false);
    if (found) return folder;
  }
}

const ws = await installed("ws", "8.23.0");
const node = await requireOrIgnore("node", async () => {
  const { success } = await new Deno.Command("node", { args: ["--version"] }).output();
  return success && ws !== undefined;
}, "install Node, and deno install");
const pythonAsync = await pythonWith("websockets", "apt-get install python3-websockets");
const pythonSync = await pythonWith("websocket", "apt-get install python3-websocket");

Deno.test("json protocol: the example in JavaScript runs in Deno", async () => {
  const { hub, url } = await place();
  await using _ = hub;
  const path = await Deno.makeTempFile({ suffix: ".js" });
  try {
    await Deno.writeTextFile(path, `const url = ${JSON.stringify(url)};\n${example("javascript")}`);
    const output = await written(Deno.execPath(), ["run", "-A", path]);
    assert.deepEqual(output.trim().split("\n"), EXPECTED);
  } finally {
    await Deno.remove(path);
  }
});

Deno.test({
  name: node.name("json protocol: the example in JavaScript runs in Node, with npm's ws"),
  ignore: node.ignore,
  fn: async () => {
    const { hub, url } = await place();
    await using _ = hub;
    const folder = await Deno.makeTempDir();
    try {
      await Deno.mkdir(join(folder, "node_modules"));
      await Deno.symlink(ws as string, join(folder, "node_modules/ws"));
      const head = `import { WebSocket } from "ws";\nconst url = ${JSON.stringify(url)};\n`;
      await Deno.writeTextFile(join(folder, "main.mjs"), head + example("javascript"));
      const output = await written("node", [join(folder, "main.mjs")]);
      assert.deepEqual(output.trim().split("\n"), EXPECTED);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});

Deno.test({
  name: pythonAsync.name("json protocol: the example in Python runs, with websockets"),
  ignore: pythonAsync.ignore,
  fn: async () => {
    const { hub, url } = await place();
    await using _ = hub;
    const output = await written(pythonAsync.command, ["-c", example("python"), url]);
    assert.deepEqual(output.trim().split("\n"), EXPECTED);
  },
});

Deno.test({
  name: pythonSync.name("json protocol: a client of Python's websocket-client is served"),
  ignore: pythonSync.ignore,
  fn: async () => {
    const { hub, url } = await place();
    await using _ = hub;
    const program = `
import json, sys, websocket
socket = websocket.create_connection(sys.argv[1], subprotocols=["patchbay.json.v1"])
socket.send('{"type":"hello"}')
socket.send('{"type":"request","id":1,"address":"arm/move","value":3}')
while True:
    message = json.loads(socket.recv())
    if message["type"] == "response":
        print(message["value"])
        break
socket.close()
`;
    const output = await written(pythonSync.command, ["-c", program, url]);
    assert.equal(output, "at 3\n");
  },
});

Deno.test("json protocol: the document names every message that is sent or understood", async () => {
  const folder = join(PROJECT_ROOT, "core/json_protocol");
  const named = new Set<string>();
  for (const file of ["json_reader.ts", "json_writer.ts", "json_link.ts"]) {
    const source = await Deno.readTextFile(join(folder, file));
    for (const [, type] of source.matchAll(/(?:type: |case )"([a-z-]+)"/g)) named.add(type);
  }
  assert.ok(named.size >= 25, [...named].join());
  const missing = [...named].filter((type) =>
    !DOCUMENT.includes(`**${type}**`) &&
    !DOCUMENT.includes(`\`${type}\``)
  );
  assert.deepEqual(missing, []);
});
