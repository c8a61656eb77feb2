/**
 * The console of the demo: finds the sensor and the arm, shows how they do, has jobs done, has
 * each of them killed, and checks that everything comes back by itself. Exits with 0 only if every
 * line of its summary is true.
 *
 * @module
 */
import { type JobHandle, onShutdown, Patchbay, PatchbayError } from "@patchbay/patchbay";
import { ArmReport, Calibrate, Joint, Kill, Pick, Pose, Temperature } from "./contracts.ts";
import { Durations, Heard, Rate } from "./meter.ts";
import {
  bold,
  count,
  cyan,
  dim,
  green,
  magenta,
  milliseconds,
  red,
  useColour,
  yellow,
} from "./paint.ts";
import { type Bar, type Row, Screen } from "./screen.ts";

useColour(Deno.stdout.isTerminal() && !Deno.noColor);
const screen = new Screen();

await using bay = await Patchbay.open({
  module: "console",
  runtimeDirectory: Deno.args[0],
  configFile: false,
  discover: false,
  onReport: (error) => screen.say(yellow(`${error.code}: ${error.message}`)),
});

/** Waits until something holds. The demo has failed if it does not within 20 s. */
async function until(what: string, holds: () => boolean): Promise<void> {
  const deadlineMs = performance.now() + 20_000;
  while (!holds()) {
    if (performance.now() > deadlineMs) throw new Error(`waited 20 s in vain until ${what}`);
    await pause(2);
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** A time in which a process was dead, as seen from here. */
interface Outage {
  readonly fromMs: number;
  deadMs?: number;
  noticedMs?: number;
  untilMs?: number;
}

// ----- what is heard, called and done all the time -----

const poses = new Heard();
const temperatures = new Heard();
let sensorOutage: Outage | undefined;

await bay.listen(Pose, (_pose, context) => {
  poses.note(context);
  if (context.origin !== sensorOrigin && sensorOutage !== undefined) {
    sensorOutage.untilMs ??= poses.lastMs;
  }
  sensorOrigin = context.origin;
}, {
  onSilent: () => {
    const silence = `no pose for ${Pose.maxSilenceMs} ms`;
    if (sensorOutage === undefined) return screen.say(yellow(`${silence}: a slow machine?`));
    sensorOutage.noticedMs ??= performance.now();
    screen.say(`${red("silence")}: ${silence}, says the listener`);
  },
});
let sensorOrigin = "";
await bay.listen(Temperature, (_celsius, context) => {
  temperatures.note(context);
}, { retained: true });

const calls = { made: 0, answered: 0, refused: new Map<string, number>(), unexplained: 0 };
/** How long each call took, in milliseconds; `undefined`: it was refused. */
const trace: (number | undefined)[] = [];
const answers = new Rate();
const roundTrips = new Durations();
let armOutage: Outage | undefined;
const joint = bay.callable(Joint);
let running = true;

/** Calls the arm every 50 ms, whatever happens. */
async function callForEver(): Promise<void> {
  for (let n = 0; running; n++) {
    const startedMs = performance.now();
    try {
      calls.made++;
      await joint.call({ joint: n % 6 });
      const nowMs = performance.now();
      calls.answered++;
      answers.add();
      roundTrips.add(nowMs - startedMs);
      trace.push(nowMs - startedMs);
      if (armOutage?.deadMs !== undefined && armOutage.deadMs < startedMs) {
        armOutage.untilMs ??= nowMs;
      }
    } catch (error) {
      refused(error, startedMs);
    }
    await pause(Math.max(0, 50 - (performance.now() - startedMs)));
  }
}

function refused(error: unknown, startedMs: number): void {
  const code = error instanceof PatchbayError ? error.code : String(error);
  calls.refused.set(code, (calls.refused.get(code) ?? 0) + 1);
  const inOutage = armOutage !== undefined && armOutage.untilMs === undefined;
  if (answers.total > 0) trace.push(undefined);
  if (inOutage && ["closed", "not_found", "unavailable"].includes(code)) {
    if (calls.refused.get(code) === 1) screen.say(`calls to the arm reject ${red(code)}, at once`);
  } else if (answers.total > 0) {
    calls.unexplained++;
    screen.say(red(`a call rejected ${code} after ${performance.now() - startedMs} ms`));
  } else {
    // Nobody has been found yet: that is no call made.
    calls.refused.delete(code);
    calls.made--;
  }
}

// ----- the screen -----

let shown: Bar | undefined;
const jobs = {
  done: 0,
  lost: 0,
  cancelled: 0,
  feedback: new Rate(),
  wire: undefined as string | undefined,
};

function rows(): Row[] {
  const { endpoints } = bay.statistics.snapshot(Date.now());
  const drops = (address: string) =>
    endpoints.filter((endpoint) => endpoint.address === address)
      .flatMap((endpoint) => Object.values(endpoint.drops)).reduce((sum, n) => sum + (n ?? 0), 0);
  const heard = (address: string, pattern: string, what: Heard): Row => ({
    address,
    pattern,
    alive: performance.now() - what.lastMs < (Pose.maxSilenceMs ?? 0) * (what === poses ? 1 : 4),
    wire: what.wire,
    messages: what.total,
    perSecond: what.perSecond,
    drops: drops(address) + what.missing,
  });
  const armAlive = armOutage === undefined ? answers.total > 0 : armOutage.untilMs !== undefined;
  return [
    heard(Pose.address, "shout", poses),
    heard(Temperature.address, "shout", temperatures),
    {
      address: Joint.address,
      pattern: "call",
      alive: armAlive,
      wire: joint.transport,
      messages: answers.total,
      perSecond: answers.perSecond,
      p50: roundTrips.quantile(0.5),
      p99: roundTrips.quantile(0.99),
      drops: drops(Joint.address),
    },
    {
      address: "arm/pick, calibrate",
      pattern: "job",
      alive: armAlive,
      wire: jobs.wire,
      messages: jobs.feedback.total,
      perSecond: jobs.feedback.perSecond,
      drops: drops(Pick.address) + drops(Calibrate.address),
    },
  ];
}

/** Shows a job's bar while it runs; resolves when it has ended, however. */
async function watch<Feedback>(
  job: JobHandle<Feedback, unknown>,
  describe: (feedback: Feedback) => string,
): Promise<void> {
  const show = (state: Bar["state"], note: string) => {
    shown = { address: job.address, fraction: job.progress ?? 0, state, note };
  };
  jobs.wire = job.transport;
  show("running", "accepted");
  for await (const feedback of job.feedback) {
    jobs.feedback.add();
    show("running", describe(feedback));
  }
  const end = await job.result.then(() => "done" as const, () => undefined);
  if (end !== undefined) show(end, "done");
  else if (job.state === "cancelled") show("cancelled", "cancelled");
  else show("lost", "lost");
}

const showing = setInterval(() => screen.draw(rows(), trace, shown), 80);

// ----- the story -----

const describePick = (f: { phase: string; heightMm: number }) => `${f.phase}, ${f.heightMm} mm`;
const describeJoint = (f: { joint: number }) => `joint ${f.joint} of 6`;
const outages: { what: string; outage: Outage }[] = [];

async function findBoth(): Promise<void> {
  await until("the sensor is heard", () => poses.total > 0);
  screen.say(`the ${bold("sensor")} is heard over ${cyan(poses.wire ?? "?")}`);
  await until("the arm answers", () => answers.total > 0);
  screen.say(`the ${bold("arm")} answers over ${cyan(joint.transport ?? "?")}`);
  await pause(1800);
}

/** The arm dies in the middle of a job. */
async function loseTheArm(): Promise<void> {
  const before = await bay.call(ArmReport, null);
  const job = await bay.execute(Pick, { part: "bolt" });
  const watched = watch(job, describePick);
  screen.say(`${bold(Pick.address)}: the arm picks up a bolt`);
  await until("the job is half done", () => (job.progress ?? 0) >= 0.45 || job.state !== "running");

  const outage: Outage = armOutage = { fromMs: performance.now() };
  outages.push({ what: "arm", outage });
  screen.say(
    red(`kill -9 ${before.pid}`) +
      `: the arm, at ${Math.round(100 * (job.progress ?? 0))} % of the job`,
  );
  const lost = job.result.then(() => undefined, (error: unknown) => {
    outage.noticedMs = performance.now();
    return error;
  });
  const killed = await bay.call(Kill, { module: "arm" });
  outage.deadMs = performance.now();
  check(killed.signal === "SIGKILL" && killed.pid === before.pid, "the arm died of SIGKILL");
  const error = await lost;
  await watched;
  check(
    error instanceof PatchbayError && error.code === "closed" && job.state === "lost",
    `the job was lost with closed (it is ${job.state}: ${error})`,
  );
  jobs.lost++;
  screen.say(
    `the job rejects ${red("closed")}, ${
      milliseconds(elapsed(outage.fromMs, outage.noticedMs))
    } after the kill`,
  );

  await until("the arm answers again", () => outage.untilMs !== undefined);
  const after = await bay.call(ArmReport, null);
  check(after.pid !== before.pid, "the arm is a new process");
  screen.say(
    `the arm is back as ${after.pid}, ${
      green(milliseconds(elapsed(outage.fromMs, outage.untilMs)))
    } after the kill`,
  );
}

async function pickAgain(): Promise<void> {
  screen.say(`${bold(Pick.address)} once more`);
  const job = await bay.execute(Pick, { part: "bolt" });
  await watch(job, describePick);
  const { grams } = await job.result;
  jobs.done++;
  check(grams === 400 && job.progress === 1, "the job was done");
  screen.say(green(`picked up a bolt of ${grams} g`));
}

async function loseTheSensor(): Promise<void> {
  const outage: Outage = sensorOutage = { fromMs: performance.now() };
  outages.push({ what: "sensor", outage });
  const { pid, signal } = await bay.call(Kill, { module: "sensor" });
  outage.deadMs = performance.now();
  screen.say(red(`kill -9 ${pid}`) + ": the sensor");
  check(signal === "SIGKILL", "the sensor died of SIGKILL");
  await until("the sensor is heard again", () => outage.untilMs !== undefined);
  screen.say(
    `the sensor is heard again, ${
      green(milliseconds(elapsed(outage.fromMs, outage.untilMs)))
    } after the kill, ` +
      `from pose ${poses.firsts.at(-1)} on`,
  );
  check(outage.noticedMs !== undefined, "the silence was noticed");
}

async function cancelAJob(): Promise<void> {
  const job = await bay.execute(Calibrate, { joints: 6 });
  screen.say(`${bold(Calibrate.address)} begins, and will be cancelled`);
  const watched = watch(job, describeJoint);
  await until(
    "the job is well under way",
    () => (job.progress ?? 0) >= 0.4 || job.state !== "running",
  );
  job.cancel(new Error("the console has changed its mind"));
  const reason = await job.result.then(
    () => "it went on to the end",
    (error: Error) => error.message,
  );
  await watched;
  const { running, stopped } = await bay.call(ArmReport, null);
  check(
    job.state === "cancelled" && reason === "the console has changed its mind",
    `the job was cancelled (it is ${job.state}: ${reason})`,
  );
  check(running === 0 && stopped === 1, `the arm stopped (${running} running, ${stopped} stopped)`);
  jobs.cancelled++;
  screen.say(
    magenta(`cancelled at ${Math.round(100 * (job.progress ?? 0))} %; the arm stopped cleanly`),
  );
}

function elapsed(fromMs: number, untilMs: number | undefined): number | undefined {
  return untilMs === undefined ? undefined : untilMs - fromMs;
}

/** What was not as it should be. */
const failures: string[] = [];

function check(holds: boolean, what: string): void {
  if (!holds) failures.push(what);
}

// ----- the run -----

// On a signal: no more calls, and no screen with what their end looks like.
using _ = onShutdown(() => {
  running = false;
  clearInterval(showing);
  screen.end(rows());
  console.log("\ninterrupted");
}, { exitCode: "signal" });

const calling = callForEver();
try {
  await findBoth();
  await loseTheArm();
  await pause(300);
  await pickAgain();
  await pause(300);
  await loseTheSensor();
  await pause(300);
  await cancelAJob();
  await pause(800);
} catch (error) {
  failures.push(error instanceof Error ? error.message : String(error));
}
running = false;
await calling;
clearInterval(showing);
screen.draw(rows(), trace, shown);
screen.end(rows());

// ----- the summary -----

function claim(holds: boolean, text: string): void {
  console.log(`  ${holds ? green("✓") : red("✗")} ${text}`);
  check(holds, text.replace(/\s+/g, " "));
}

const dropped = rows().reduce((sum, row) => sum + row.drops, 0);
const refusals = [...calls.refused].map(([code, n]) => `${n} ${code}`).join(", ");
const refusedCalls = [...calls.refused.values()].reduce((sum, n) => sum + n, 0);
const downMs = (name: string) => {
  const found = outages.find((one) => one.what === name)?.outage;
  return found && elapsed(found.fromMs, found.untilMs);
};

console.log(`\n${bold("Summary")} ${dim(`after ${screen.seconds.toFixed(1)} s`)}`);
claim(
  poses.total > 0 && poses.missing === 0,
  `${count(poses.total)} poses heard, ${poses.missing} missing while the sensor lived`,
);
claim(
  calls.answered > 0 && calls.unexplained === 0 &&
    calls.made === calls.answered + refusedCalls,
  `${calls.made} calls, ${calls.answered} answered` +
    (refusals === "" ? "" : `; while the arm was dead: ${refusals}`),
);
claim(
  roundTrips.quantile(0.5) !== undefined,
  `round trips: p50 ${milliseconds(roundTrips.quantile(0.5))}, p99 ${
    milliseconds(roundTrips.quantile(0.99))
  }`,
);
for (const what of ["arm", "sensor"]) {
  const outage = outages.find((one) => one.what === what)?.outage;
  claim(
    outage?.noticedMs !== undefined && outage.untilMs !== undefined,
    `${what} killed: noticed in ${
      milliseconds(elapsed(outage?.fromMs ?? 0, outage?.noticedMs))
    }, ` +
      `back by itself in ${milliseconds(downMs(what))}`,
  );
}
claim(
  jobs.done === 1 && jobs.lost === 1 && jobs.cancelled === 1,
  `jobs: ${jobs.done} done, ${jobs.lost} lost with the arm, ${jobs.cancelled} cancelled`,
);
claim(dropped === 0, `${dropped} messages dropped`);

if (failures.length > 0) {
  for (const failure of new Set(failures)) console.error(red(`demo: not so: ${failure}`));
  Deno.exitCode = 1;
}
