import assert from "node:assert/strict";
import { join } from "node:path";
import { Place, values } from "./testdata/harness.ts";

Deno.test("list: nobody, then a module with its endpoints, wires and counters", async () => {
  await using place = new Place();
  const nobody = await place.patchbay(["list"]);
  assert.deepEqual([nobody.code, nobody.stdout], [0, `nobody is there (${place.run})\n`]);
  await place.arm();
  const call = ["call", "arm/add", '{"a":1,"b":2}'];
  assert.equal((await place.patchbay(call)).code, 0);
  const [arm, ...others] = values((await place.patchbay(["list", "--json"])).stdout);
  assert.deepEqual([arm.module, arm.instance, others], ["arm", "arm", []]);
  assert.equal(arm.wires.uds, `${place.run}/arm.sock`);
  const add = arm.endpoints.find((one: { address: string }) => one.address === "arm/add");
  assert.deepEqual([add.pattern, add.role, add.wires], ["callable", "server", [
    "in_process",
    "uds",
  ]]);
  const shown = await place.patchbay(["list"]);
  assert.match(shown.stdout, /^ENDPOINT +PATTERN .*\narm pid \d+, up .*\n/);
  assert.match(shown.stdout, /\n {2}arm\/pick +job +server +in_process uds /);
  const none = await place.patchbay(["list", "--via", "redis", "--json"]);
  assert.deepEqual([none.code, none.stdout], [0, ""]);
});

Deno.test("list --wires: what each wire has carried", async () => {
  await using place = new Place();
  await place.arm();
  assert.equal((await place.patchbay(["call", "arm/add", '{"a":1,"b":2}'])).code, 0);
  // Published once a second.
  let shown = "";
  while (!/\nuds +arm +healthy +\d+ +\d+ +[1-9]/.test(shown)) {
    shown = (await place.patchbay(["list", "--wires"])).stdout;
    assert.match(shown, /\nWIRE +OF +HEALTH +CONN +AGAIN +IN +OUT +.*DROP\n|no wire has published/);
  }
  assert.match(shown, /\nin_process +arm +healthy /);
  const one = await place.patchbay(["list", "--wires", "--via", "uds"]);
  assert.doesNotMatch(one.stdout, /\nin_process/);
});

Deno.test("list --watch: shows who comes, with published counters, until Ctrl-C", async () => {
  await using place = new Place();
  const watch = place.start(["list", "--watch", "--json"]);
  await watch.says(/"modules":\[\]/);
  await place.arm();
  await watch.says(/"address":"arm\/add"/);
  assert.equal((await place.patchbay(["call", "arm/add", '{"a":1,"b":2}'])).code, 0);
  // Published once a second.
  await watch.says(/"address":"arm\/add"[^}]*"counters":\{"messagesIn":1,/);
  watch.signal("SIGINT");
  assert.equal((await watch.ended).code, 0);
});

Deno.test("list: a configuration file says where; one that is not there is an error", async () => {
  await using place = new Place();
  await place.arm();
  const config = join(place.folder, "patchbay.json");
  await Deno.writeTextFile(config, JSON.stringify({ runtimeDirectory: "./run" }));
  const main = new URL("main.ts", import.meta.url).href;
  const found = await place.deno(["run", "-A", main, "list", "--json", "--config", config]).ended;
  assert.equal(values(found.stdout)[0].module, "arm");
  const gone = await place.patchbay(["list", "--config", "nowhere.json"]);
  assert.equal(gone.code, 1);
  assert.match(gone.stderr, /^patchbay: there is no configuration file .*\. Try: .*\n$/);
});

Deno.test("hz: rate and jitter over a window", async () => {
  await using place = new Place();
  await place.arm();
  const { code, stdout } = await place.patchbay(
    ["hz", "arm/tick", "--count", "25", "--window", "20", "--json"],
  );
  assert.equal(code, 0);
  const { topic, messages, window, rateHz, periodMs } = values(stdout).at(-1);
  assert.deepEqual([topic, messages, window], ["arm/tick", 25, 20]);
  // A timer of 10 ms fires no earlier than that, on average.
  assert.ok(rateHz > 0 && rateHz < 150, `${rateHz}`);
  assert.ok(periodMs.min <= periodMs.mean && periodMs.mean <= periodMs.max);
  assert.ok(periodMs.stdDev >= 0);
  const shown = await place.patchbay(["hz", "arm/tick", "--duration", "0.3"]);
  assert.equal(shown.code, 0, shown.stderr);
  assert.match(shown.stdout, /Hz {2}period min .* max .* std dev .* \(last \d+ of \d+\)\n$/);
});

Deno.test("bw: bytes a second and message sizes", async () => {
  await using place = new Place();
  await place.arm();
  const { code, stdout } = await place.patchbay(["bw", "arm/tick", "-n", "10", "--json"]);
  assert.equal(code, 0);
  const { messages, bytesPerSecond, messageBytes } = values(stdout).at(-1);
  assert.equal(messages, 10);
  assert.ok(messageBytes.min >= 10 && messageBytes.max <= 40, JSON.stringify(messageBytes));
  assert.ok(bytesPerSecond > 0);
  const shown = await place.patchbay(["bw", "arm/*", "-n", "10"]);
  assert.match(
    shown.stdout,
    /B\/s {2}message mean .* B {2}min .* B {2}max .* B {2}\(last 10 of 10\)\n$/,
  );
});

Deno.test("hz and bw: nothing came, or too little", async () => {
  await using place = new Place();
  await place.arm();
  const failing = [
    ["hz", "arm/nix", "--duration", "0.1"],
    ["bw", "arm/nix", "--timeout", "100"],
    ["hz", "arm/tick", "--count", "100000", "--timeout", "200"],
  ];
  for (const args of failing) {
    const { code, stderr } = await place.patchbay([...args, "--json"]);
    assert.deepEqual([code, values(stderr).at(-1).error.code], [1, "deadline_exceeded"]);
  }
});

Deno.test("explain: every wire in order, with a measured round trip that runs no handler", async () => {
  await using place = new Place();
  await place.arm();
  const { code, stdout } = await place.patchbay(["explain", "arm/add", "-n", "5", "--json"]);
  assert.equal(code, 0);
  const [inProcess, uds] = values(stdout);
  assert.deepEqual([inProcess.wire, inProcess.outcome], ["in_process", "rejected"]);
  assert.deepEqual([uds.wire, uds.outcome, uds.pattern], ["uds", "chosen", "callable"]);
  assert.deepEqual([uds.latency.what, uds.latency.count], ["round trip", 5]);
  assert.ok(uds.latency.p50Ms > 0);
  const [arm] = values((await place.patchbay(["list", "--json"])).stdout);
  const add = arm.endpoints.find((one: { address: string }) => one.address === "arm/add");
  assert.equal(add.counters?.calls ?? 0, 0);
});

Deno.test("explain: speakers and jobs are known from the directory; --call measures calls", async () => {
  await using place = new Place();
  await place.arm();
  for (const [address, pattern] of [["arm/tick", "speaker"], ["arm/pick", "job"]]) {
    const { stdout } = await place.patchbay([
      "explain",
      address,
      "-n",
      "2",
      "--json",
      "--via",
      "uds",
    ]);
    const [uds, ...others] = values(stdout);
    assert.deepEqual([uds.pattern, uds.outcome, others], [pattern, "chosen", []]);
    assert.equal(uds.latency.count, 2);
  }
  const real = await place.patchbay(["explain", "arm/echo", "--call", "1", "-n", "3"]);
  assert.equal(real.code, 0, real.stderr);
  assert.match(real.stdout, /uds +chosen +p50 .*, p99 .* arm \(pid \d+\) at\s/);
  assert.match(real.stdout, /latency: 3 calls one after another, the handler's work included/);
});

Deno.test("explain: nobody is there", async () => {
  await using place = new Place();
  const { code, stdout, stderr } = await place.patchbay(["explain", "arm/add"]);
  assert.equal(code, 1);
  assert.match(stdout, /uds +rejected +– +no live module of this host serves it/);
  assert.match(stderr, /^patchbay: arm\/add: no wire leads there\. Try: .*\n$/);
  const odd = await place.patchbay(["explain", "arm/add", "--pattern", "callabel"]);
  assert.deepEqual([odd.code, odd.stdout], [2, ""]);
});

const SICK = `export default {
  name: "sick",
  summary: "is never well",
  capabilities: { callable: true, speaker: false, job: false },
  scope: "network",
  rank: 5,
  traits: {
    ordered: false,
    delivery: "at_least_once",
    retained: false,
    headers: false,
    job: "none",
    maxPayloadBytes: 1024,
    zeroCopy: false,
    values: false,
    backpressure: false,
    noticesDeath: false,
  },
  config: {
    fields: { port: { kind: "integer", description: "TCP port", default: 4000 } },
    "~standard": { version: 1, vendor: "test", validate: (value) => ({ value }) },
  },
  permissions: () => ["--allow-net=sick.example"],
  available: () => ({ available: false, reason: "it has a cold", remedy: "drink tea" }),
  open: () => Promise.reject(new Error("not today")),
};
`;

async function withPlugins(place: Place): Promise<string> {
  for (const [name, text] of [["sick", SICK], ["broken", "export default 42;\n"]]) {
    await Deno.mkdir(join(place.folder, "wires", name), { recursive: true });
    await Deno.writeTextFile(join(place.folder, "wires", name, "mod.ts"), text);
  }
  const config = join(place.folder, "patchbay.json");
  await Deno.writeTextFile(config, JSON.stringify({ pluginDirectories: ["./wires"] }));
  return config;
}

Deno.test("doctor: every wire, the sick and the broken ones with reason and remedy", async () => {
  await using place = new Place();
  const config = await withPlugins(place);
  const { code, stdout } = await place.patchbay(["doctor", "--config", config]);
  assert.equal(code, 0);
  assert.match(stdout, /^patchbay +0\.\d+\.\d+, deno 2\./);
  assert.match(stdout, new RegExp(`\nruntime directory +${place.run}\n`));
  assert.match(stdout, /\n✓ uds {2}between processes/);
  assert.match(
    stdout,
    /\n✗ sick {2}is never well\n +not available +it has a cold\n +remedy +drink tea\n/,
  );
  assert.match(stdout, /patterns +callable, no speaker, no job\n/);
  assert.match(stdout, /permissions +--allow-net=sick\.example\n/);
  assert.match(stdout, /\n✗ broken {2}not loaded\n +broken +its default export is not a plugin/);
  assert.match(stdout, /\n2 of 4 wires can be used here\n$/);
  assert.doesNotMatch(stdout, /TCP port/);
});

Deno.test("doctor: fails only for a wire that was named", async () => {
  await using place = new Place();
  const config = await withPlugins(place);
  const doctor = (...args: string[]) => place.patchbay(["doctor", ...args, "--config", config]);
  const well = await doctor("uds");
  assert.deepEqual([well.code, well.stderr], [0, ""]);
  assert.doesNotMatch(well.stdout, /sick/);
  const sick = await doctor("uds", "sick");
  assert.equal(sick.code, 1);
  assert.equal(sick.stderr, "patchbay: sick cannot be used here: it has a cold. Try: drink tea\n");
  assert.equal((await doctor("--via", "broken")).code, 1);
  const misspelt = await doctor("udz");
  assert.equal(misspelt.code, 1);
  assert.equal(misspelt.stderr, 'patchbay: there is no wire "udz". Did you mean uds?\n');
});

Deno.test("doctor: shows what the dead have left, and removes it when told to", async () => {
  await using place = new Place();
  const arm = await place.arm();
  arm.signal("SIGKILL");
  await arm.ended;
  const left = ["arm.json", "arm.lock", "arm.sock"].map((name) => join(place.run, name));
  const shown = await place.patchbay(["doctor", "uds"]);
  assert.equal(shown.code, 0, shown.stderr);
  for (const path of left) assert.match(shown.stdout, new RegExp(`\n {4}${path} +of arm`));
  assert.match(shown.stdout, /removed by +patchbay doctor --clean/);
  const before = values((await place.patchbay(["doctor", "uds", "--json"])).stdout);
  assert.deepEqual(before.flatMap(({ stale }) => stale ?? []).map(({ what }) => what), left);
  const cleaned = values((await place.patchbay(["doctor", "uds", "--clean", "--json"])).stdout);
  assert.deepEqual(cleaned.flatMap(({ removed }) => removed ?? []), left);
  assert.deepEqual(cleaned.flatMap(({ stale }) => stale ?? []), []);
  const after = await place.patchbay(["doctor", "uds", "--clean"]);
  assert.doesNotMatch(after.stdout, /left by|removed/);
});

Deno.test("doctor: --json, --verbose and --config-table", async () => {
  await using place = new Place();
  const config = await withPlugins(place);
  const lines = values((await place.patchbay(["doctor", "--json", "--config", config])).stdout);
  assert.equal(lines[0].host.runtimeDirectory, place.run);
  assert.ok(lines[0].host.permissions.includes("--allow-sys=uid"));
  const names = lines.slice(1).map((one) => one.plugin?.name ?? one.broken?.name);
  assert.deepEqual(names, ["in_process", "uds", "sick", "broken"]);
  assert.deepEqual(lines[3].plugin.availability.remedy, "drink tea");
  const table = await place.patchbay(["doctor", "uds", "--config-table"]);
  assert.match(table.stdout, /CONFIGURATION +KIND +DEFAULT +WHAT IT DOES\n/);
  assert.match(
    table.stdout,
    /compression +none \| deflate +"none" +compressor to offer to peers\n/,
  );
  const verbose = await place.patchbay(["doctor", "sick", "-v", "--config", config]);
  assert.match(verbose.stdout, new RegExp(`comes from +${place.folder}/wires/sick/mod.ts\n`));
  assert.match(verbose.stdout, /reaches +network \(rank 5\)\n/);
});
