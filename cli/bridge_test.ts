import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { freePort } from "@patchbay/core/conformance";
import { Place, values } from "./testdata/harness.ts";

/** Where websocket is found in the folder of plugins. */
const IN_PROJECT = { cwd: fileURLToPath(new URL("..", import.meta.url)) };

/** The arguments of a bridge whose far wire is a hub. */
function bridging(port: number): string[] {
  const set = `websocket.listen.port=${port}`;
  return ["bridge", "--from", "uds", "--to", "websocket", "--match", "arm/**", "--set", set];
}

/** The options of a command that sits on the far wire, in a runtime directory of its own. */
async function far(place: Place, port: number): Promise<string[]> {
  const path = `${place.folder}/far.json`;
  const wires = { websocket: { url: `ws://127.0.0.1:${port}` } };
  await Deno.writeTextFile(path, JSON.stringify({ wires }));
  return ["--via", "websocket", "--config", path];
}

Deno.test("bridge: uds to websocket in one line, until SIGTERM, with a summary", async () => {
  await using place = new Place();
  await using elsewhere = new Place();
  await place.arm();
  const port = freePort();
  const child = place.start(bridging(port), IN_PROJECT);
  await child.says(/^\+ callable arm\/add {2}uds → websocket$/m);
  await child.remarks(/uds ⇄ websocket for arm\/\*\*; Ctrl-C ends it/);
  const options = await far(elsewhere, port);
  const args = ["call", "arm/add", '{"a":1,"b":2}', ...options, "--json"];
  const call = await elsewhere.patchbay(args, IN_PROJECT);
  assert.equal(call.code, 0, call.stderr);
  assert.equal(JSON.parse(call.stdout).sum, 3);
  child.signal("SIGTERM");
  const { code, stdout, stderr } = await child.ended;
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^direction +calls +shouts +jobs +feedback +errors +dropped$/m);
  assert.match(stdout, /^uds → websocket +1 +[0-9]+ +0 +0 +– +–$/m);
});

Deno.test("bridge --json: events and counters, one a line, until SIGINT", async () => {
  await using place = new Place();
  await place.arm();
  const child = place.start([...bridging(freePort()), "--one-way", "--json"], IN_PROJECT);
  await child.says(/"event":"address".*"arm\/add"/);
  child.signal("SIGINT");
  const { code, stdout, stderr } = await child.ended;
  assert.deepEqual([code, stderr], [0, ""]);
  const events = values(stdout);
  assert.deepEqual(events[0], {
    event: "bridging",
    from: "uds",
    to: "websocket",
    match: ["arm/**"],
    oneWay: true,
  });
  const add = events.find((one) => one.event === "address" && one.address === "arm/add");
  assert.deepEqual([add.from, add.to, add.pattern, add.state], [
    "uds",
    "websocket",
    "callable",
    "carried",
  ]);
  const closed = events.at(-1);
  assert.deepEqual([closed.event, closed.directions.length], ["closed", 1]);
});

Deno.test("bridge: what cannot be is one line with a remedy, and a code", async () => {
  await using place = new Place();
  const failures: [args: string[], code: number, stderr: RegExp][] = [
    [["bridge"], 2, /^patchbay: say which two wires\. Try: patchbay bridge --from .*\n$/],
    [["bridge", "--from", "uds", "--to", "uds"], 1, /leads nowhere\. Try: name two wires\n$/],
    [["bridge", "--from", "uds", "--to", "websocket"], 1, /^patchbay: bridge: websocket: .*\n$/],
    [["bridge", "--from", "uds", "--to", "uxs"], 1, /no wire "uxs"\. Did you mean uds\?\n$/],
    [["bridge", "--set", "x"], 2, /say which two wires/],
    [
      ["bridge", "--from", "uds", "--to", "websocket", "--set", "port=1"],
      2,
      /--set port=1 is no setting\. Try: --set websocket\.listen\.port=8080\n$/,
    ],
    [["bridge", "--overflow", "fail"], 2, /Allowed choices are/],
  ];
  for (const [args, code, stderr] of failures) {
    const outcome = await place.patchbay(args, IN_PROJECT);
    assert.deepEqual([outcome.code, outcome.stdout], [code, ""], outcome.stderr);
    assert.match(outcome.stderr, stderr);
  }
});
