/**
 * Kills processes of shared_memory for as long as it is told, and looks whether anything was ever
 * wrong: `deno task soak [MINUTES]`.
 *
 * In turns: random SIGKILLs of processes that talk with each other, and the tests that walk through
 * every step at which a process can die or be stopped. It ends with 1 as soon as anything was
 * violated.
 *
 * @module
 */
import { type Killing, randomKills } from "../plugins/shared_memory/testdata/random_kills.ts";
import { plain } from "./deno.ts";
import { readTally } from "./run_tests.ts";
import { PROJECT_ROOT } from "./workspace.ts";

const DEFAULT_MINUTES = 10;
/** How long one turn of random kills takes, in milliseconds. */
const TURN_MS = 60_000;
/** The tests of one turn. */
const WALKS = [
  "plugins/shared_memory/faults_test.ts",
  "plugins/shared_memory/stopped_test.ts",
  "plugins/shared_memory/refusals_test.ts",
  "ffi/mutex_test.ts",
  "ffi/shared_ring_test.ts",
  "ffi/segment_owner_test.ts",
];
/** What stays open between two turns may differ by so much: what the runtime itself keeps. */
const SPARE_FILES = 8;

/** What a soak has seen. */
export interface Soaked {
  /** Random SIGKILLs. */
  kills: number;
  /** How many of them before the process was ready. */
  early: number;
  /** How often both of two were killed. */
  both: number;
  /** Messages that were checked in this process. */
  messages: number;
  /** How often every step was walked through. */
  walks: number;
  /** Tests that passed on the way. */
  passed: number;
  /** What may never be. */
  violations: string[];
}

/** How to soak. */
export interface SoakOptions {
  /** How long, in milliseconds. */
  readonly forMs: number;
  /** Whether to run the tests, too. Default true. */
  readonly walk?: boolean;
  /** Told what goes on. */
  readonly onProgress?: (so: Soaked, kills: number) => void;
}

/** What this process holds: it may not grow from turn to turn. */
function held(): { files: number; segments: number } {
  if (Deno.build.os !== "linux") return { files: 0, segments: 0 };
  const maps = Deno.readTextFileSync("/proc/self/maps").split("\n");
  return {
    files: [...Deno.readDirSync("/proc/self/fd")].length,
    segments: maps.filter((line) => line.includes("/dev/shm/pb-")).length,
  };
}

/** Soaks. */
export async function soak({ forMs, walk = true, onProgress }: SoakOptions): Promise<Soaked> {
  const so: Soaked = {
    kills: 0,
    early: 0,
    both: 0,
    messages: 0,
    walks: 0,
    passed: 0,
    violations: [],
  };
  const endMs = performance.now() + forMs;
  let before: ReturnType<typeof held> | undefined;
  for (let turns = 0; performance.now() < endMs && so.violations.length === 0; turns++) {
    const untilMs = Math.min(endMs, performance.now() + TURN_MS);
    const turn = await randomKills({
      kills: Infinity,
      untilMs,
      doorbell: turns % 2 === 0 ? "socket" : "semaphore",
      onKill: ({ kills }: Killing) => onProgress?.(so, so.kills + kills),
    });
    so.kills += turn.kills;
    so.early += turn.early;
    so.both += turn.both;
    so.messages += turn.messages;
    so.violations.push(...turn.violations);
    const now = held();
    // The first turn opens what stays open: the runtime's own.
    if (before !== undefined && now.files > before.files + SPARE_FILES) {
      so.violations.push(`open files grew from ${before.files} to ${now.files}`);
    }
    if (now.segments > 0) so.violations.push(`${now.segments} segments are still mapped`);
    before ??= now;
    if (walk && performance.now() < endMs && so.violations.length === 0) await walkOnce(so);
    onProgress?.(so, so.kills);
  }
  return so;
}

async function walkOnce(so: Soaked): Promise<void> {
  const { code, stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["test", "-A", "--no-check", ...WALKS],
    cwd: PROJECT_ROOT,
    env: { NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1" },
    stdin: "null",
    stdout: "piped",
    stderr: "inherit",
  }).output();
  const output = new TextDecoder().decode(stdout);
  const { passed, failed } = readTally(output, code);
  so.walks++;
  so.passed += passed;
  if (failed > 0) so.violations.push(`${failed} tests failed:\n${plain(output)}`);
}

const counted = (n: number) => n.toLocaleString("en");

/** The end of a soak, for people. */
export function summary(so: Soaked, minutes: number): string {
  const rows = [
    ["time", `${minutes.toFixed(1)} min`],
    ["random SIGKILLs", `${counted(so.kills)} (${so.early} early, ${so.both} both at once)`],
    ["messages checked", counted(so.messages)],
    ["every step walked", `${so.walks} times, ${counted(so.passed)} tests passed`],
    ["violations", so.violations.length === 0 ? "none" : `${so.violations.length}`],
  ];
  return [
    ...rows.map(([name, value]) => `${name.padEnd(18)} ${value}`),
    ...so.violations.slice(0, 20).map((text) => `  ✗ ${text}`),
  ].join("\n");
}

if (import.meta.main) {
  const minutes = Number(Deno.args[0] ?? DEFAULT_MINUTES);
  if (!(minutes > 0)) {
    console.error(`soak: ${Deno.args[0]} is no number of minutes. Try: deno task soak 10`);
    Deno.exit(2);
  }
  const start = performance.now();
  const elapsed = () => (performance.now() - start) / 60_000;
  const live = Deno.stdout.isTerminal();
  let told = -Infinity;
  const so = await soak({
    forMs: minutes * 60_000,
    onProgress(so, kills) {
      const now = performance.now();
      if (now - told < (live ? 200 : 10_000)) return;
      told = now;
      const line = `${elapsed().toFixed(1)} of ${minutes} min  ${counted(kills)} kills  ` +
        `${so.walks} walks  ${so.violations.length} violations`;
      if (live) Deno.stdout.writeSync(new TextEncoder().encode(`\r\x1b[K${line}`));
      else console.log(line);
    },
  });
  if (live) console.log("\r\x1b[K");
  console.log(summary(so, elapsed()));
  Deno.exit(so.violations.length === 0 ? 0 : 1);
}
