import assert from "node:assert/strict";
import { Place, values } from "./testdata/harness.ts";

Deno.test("call: prints the response, and sends headers", async () => {
  await using place = new Place();
  await place.arm();
  const args = ["call", "arm/add", '{"a":1,"b":2}'];
  const shown = await place.patchbay([...args, "--header", "Trace=7"]);
  assert.deepEqual([shown.code, shown.stderr], [0, ""]);
  assert.equal(shown.stdout, '{"sum": 3, "headers": {"trace": "7"}}\n');
  const json = await place.patchbay([...args, "--json", "--via", "uds"]);
  assert.equal(json.stdout, '{"sum":3,"headers":{}}\n');
});

Deno.test("call: a request from standard input, bytes and bigints included", async () => {
  await using place = new Place();
  await place.arm();
  const stdin =
    ' {"text": "ü", "raw": {"$bytes": "AAEC"}, "big": {"$bigint": "12345678901234567890"}}\n';
  const { code, stdout } = await place.patchbay(["call", "arm/echo", "-", "--json"], { stdin });
  assert.equal(code, 0);
  assert.deepEqual(values(stdout), [JSON.parse(stdin)]);
});

Deno.test("call: each failure is one line with a remedy, and a code", async () => {
  await using place = new Place();
  await place.arm();
  const failures: [args: string[], code: number, stderr: RegExp][] = [
    [
      ["call", "arm/nix", "1"],
      1,
      /^patchbay: arm\/nix: no wire leads there \(.*\)\. Try: start the module.*\n$/,
    ],
    [["call", "arm/ad", "1"], 1, /^patchbay: arm\/ad: no wire .*\. Did you mean arm\/add\?\n$/],
    [["job", "arm/pik", "1"], 1, /^patchbay: arm\/pik: no wire .*\. Did you mean arm\/pick\?\n$/],
    [
      ["call", "arm/fail", "1"],
      1,
      /^patchbay: arm\/fail: the joint is stuck\. Try: look at the server: .*\n$/,
    ],
    [
      ["call", "arm/never", "1", "--timeout", "50"],
      1,
      /^patchbay: arm\/never: .* Try: a longer --timeout.*\n$/,
    ],
    [
      ["call", "arm/add", "1", "--via", "usd"],
      1,
      /^patchbay: via: there is no wire "usd"\. Did you mean uds\?\n$/,
    ],
    [["call", "Arm!", "1"], 1, /^patchbay: address "Arm!": .* Try: .*\n$/],
    [["call", "arm/echo", "Ada"], 2, /^patchbay: the request is not JSON: Ada\. Try: '"Ada"'\n$/],
    [["call", "arm/echo", "{a: 'b'}"], 2, /Try: '\{"a":"b"\}'\n$/],
    [["call", "arm/echo", "-"], 2, /nothing came on standard input\. Try: .*\n$/],
  ];
  for (const [args, code, stderr] of failures) {
    const outcome = await place.patchbay(args, { stdin: "" });
    assert.deepEqual([outcome.code, outcome.stdout], [code, ""], outcome.stderr);
    assert.match(outcome.stderr, stderr);
  }
  const json = await place.patchbay(["call", "arm/fail", "1", "--json"]);
  const [{ error }] = values(json.stderr);
  assert.deepEqual([error.code, error.address, error.transport], ["remote", "arm/fail", "uds"]);
});

Deno.test("call: Ctrl-C cancels the call and exits with 130", async () => {
  await using place = new Place();
  const arm = await place.arm();
  const call = place.start(["call", "arm/never", "--timeout", "60000"]);
  await arm.says(/"called"/);
  call.signal("SIGINT");
  const { code, stderr } = await call.ended;
  assert.deepEqual([code, stderr], [130, "patchbay: interrupted\n"]);
});

Deno.test("serve: answers until it is told to stop, and prints the calls", async () => {
  await using place = new Place();
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    const server = place.start(["serve", "desk/echo", "--echo", "--json"]);
    await server.says(/"serving"/);
    const answer = await place.patchbay(["call", "desk/echo", "[1]", "--json"]);
    assert.equal(answer.stdout, "[1]\n");
    server.signal(signal);
    const { code, stdout } = await server.ended;
    assert.equal(code, 0);
    const [, call] = values(stdout);
    assert.deepEqual([call.request, call.peer.module], [[1], "patchbay-cli"]);
    assert.deepEqual(
      [...Deno.readDirSync(place.run)].filter(({ name }) => name.endsWith(".sock")),
      [],
    );
  }
});

Deno.test("serve: a fixed reply; the end of its time; how to answer must be said", async () => {
  await using place = new Place();
  const server = place.start(["serve", "desk/now", "--reply", '"noon"']);
  await server.remarks(/serving desk\/now/);
  assert.equal((await place.patchbay(["call", "desk/now"])).stdout, '"noon"\n');
  const second = await place.patchbay(["serve", "desk/now", "--echo"]);
  assert.equal(second.code, 1);
  assert.match(second.stderr, /^patchbay: .*desk\/now.*\n$/);
  const short = await place.patchbay(["serve", "desk/then", "--echo", "--timeout", "1"]);
  assert.equal(short.code, 0, short.stderr);
  const unsaid = await place.patchbay(["serve", "desk/x"]);
  assert.deepEqual([unsaid.code, unsaid.stdout], [2, ""]);
  assert.match(unsaid.stderr, /--echo or --reply/);
});

Deno.test("listen and shout: what is shouted is printed, in order", async () => {
  await using place = new Place();
  const listener = place.start(["listen", "desk/*", "--count", "3"]);
  await listener.remarks(/listening/);
  const shouted = await place.patchbay(
    ["shout", "desk/news", '{"hot":true}', "-n", "3", "--rate", "200", "--json", "-H", "a=b"],
  );
  assert.equal(shouted.code, 0, shouted.stderr);
  const [{ count, listeners, tookMs }] = values(shouted.stdout);
  assert.deepEqual([count, listeners], [3, 1]);
  assert.ok(tookMs >= 10, `three at 200 Hz took ${tookMs} ms`);
  const { code, stdout } = await listener.ended;
  assert.equal(code, 0);
  assert.equal(stdout, [1, 2, 3].map((n) => `desk/news #${n} {"hot": true}\n`).join(""));
});

Deno.test("shout: nobody listens is a warning; a bad topic is an error", async () => {
  await using place = new Place();
  const lonely = await place.patchbay(["shout", "desk/news", "1"]);
  assert.deepEqual([lonely.code, lonely.stdout], [0, "shouted 1 × desk/news to 0 listeners\n"]);
  assert.match(lonely.stderr, /^patchbay: warning: nobody listens to desk\/news\. Try: .*\n$/);
  const wild = await place.patchbay(["shout", "desk/*", "1", "--json"]);
  assert.equal(wild.code, 1);
  assert.equal(values(wild.stderr)[0].error.code, "invalid");
  const slow = await place.patchbay([
    "shout",
    "desk/a",
    "1",
    "-n",
    "9",
    "--rate",
    "1",
    "--timeout",
    "50",
  ]);
  assert.equal(slow.code, 1);
  assert.match(slow.stderr, /took longer than 50 ms/);
});

Deno.test("listen: retained values for late listeners, of an arm and of shout --retain", async () => {
  await using place = new Place();
  await place.arm();
  const keeper = place.start(["shout", "desk/state", '"open"', "--retain"]);
  await keeper.remarks(/is kept/);
  const args = ["listen", "desk/state", "--retained", "--json", "--count", "1"];
  const late = await place.patchbay(args);
  assert.deepEqual([late.code, values(late.stdout)[0].value], [0, "open"]);
  assert.equal(values(late.stdout)[0].retained, true);
  keeper.signal("SIGINT");
  assert.equal((await keeper.ended).code, 0);
  const pose = await place.patchbay(["listen", "arm/pose", "--retained", "-n", "1"]);
  assert.equal(pose.stdout, 'arm/pose #1 retained {"x": 1}\n');
});

Deno.test("listen: silence is told, and nothing in time is a failure", async () => {
  await using place = new Place();
  const silent = await place.patchbay(
    ["listen", "desk/news", "--timeout", "300", "--max-silence", "20", "--json"],
  );
  assert.deepEqual([silent.code, silent.stdout], [1, ""]);
  const [{ warning }, { error }] = values(silent.stderr);
  assert.deepEqual([warning.code, error.code], ["silent", "deadline_exceeded"]);
  const bad = await place.patchbay(["listen", "a/**/b"]);
  assert.deepEqual([bad.code, bad.stdout], [1, ""]);
});

Deno.test("listen: Ctrl-C is its end without a count, and an interruption with one", async () => {
  await using place = new Place();
  await place.arm();
  const open = place.start(["listen", "arm/tick"]);
  await open.says(/arm\/tick #/);
  open.signal("SIGINT");
  assert.equal((await open.ended).code, 0);
  const counting = place.start(["listen", "arm/tick", "--count", "100000"]);
  await counting.says(/arm\/tick #/);
  counting.signal("SIGTERM");
  assert.equal((await counting.ended).code, 143);
});

Deno.test("listen: a reader that has had enough ends it quietly", async () => {
  await using place = new Place();
  await place.arm();
  const listener = place.start(["listen", "arm/tick", "--json"]);
  await listener.says(/arm\/tick/);
  await listener.hangUp();
  const { code, stderr } = await listener.ended;
  assert.deepEqual([code, stderr], [141, ""]);
});

Deno.test("job: feedback, progress and result", async () => {
  await using place = new Place();
  await place.arm();
  const shown = await place.patchbay(["job", "arm/pick", '{"steps":2}']);
  assert.equal(shown.code, 0, shown.stderr);
  assert.equal(shown.stdout, 'feedback {"step": 1}\nfeedback {"step": 2}\n{"picked": true}\n');
  const json = await place.patchbay(["job", "arm/pick", '{"steps":2}', "--json"]);
  const events = values(json.stdout);
  assert.deepEqual(events.filter((one) => one.event === "progress").map((one) => one.fraction), [
    0.5,
    1,
  ]);
  assert.deepEqual(events.at(-1).value, { picked: true });
  assert.equal(events[0].event, "accepted");
});

Deno.test("job: failures", async () => {
  await using place = new Place();
  await place.arm();
  const none = await place.patchbay(["job", "arm/nix", "1", "--json"]);
  assert.deepEqual([none.code, values(none.stderr)[0].error.code], [1, "not_found"]);
  const late = await place.patchbay(["job", "arm/hold", "--timeout", "100"]);
  assert.equal(late.code, 1);
  assert.match(late.stderr, /Try: a longer --timeout/);
});

Deno.test("job: Ctrl-C cancels it at the worker, and exits with 130", async () => {
  await using place = new Place();
  const arm = await place.arm();
  const job = place.start(["job", "arm/hold"]);
  await job.says(/holding/);
  job.signal("SIGINT");
  const { code, stderr } = await job.ended;
  assert.equal(code, 130);
  assert.match(stderr, /cancelling/);
  assert.match(stderr, /patchbay: arm\/hold was cancelled\n$/);
  await arm.says(/"cancelled"/);
});

Deno.test("job: a second Ctrl-C does not wait for a worker that does not listen", async () => {
  await using place = new Place();
  await place.arm();
  const job = place.start(["job", "arm/stubborn"]);
  await job.says(/do not listen/);
  job.signal("SIGINT");
  await job.remarks(/cancelling/);
  // A second press: what comes within 100 ms is the echo of the first.
  await new Promise((resolve) => setTimeout(resolve, 200));
  job.signal("SIGINT");
  assert.equal((await job.ended).code, 130);
});
