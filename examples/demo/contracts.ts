/**
 * What the processes of the demo say to each other: the one file that all of them import.
 *
 * @module
 */
import { defineCallable, defineJob, defineSpeaker } from "@patchbay/patchbay";

/** Where the robot stands, 100 times a second. */
export const Pose = defineSpeaker<{ x: number; y: number; heading: number }>({
  address: "sensor/pose",
  maxSilenceMs: 250,
});

/** How warm the motor is, in °C, twice a second; who comes late gets the last value. */
export const Temperature = defineSpeaker<number>({
  address: "sensor/temperature",
  retain: true,
});

/** Asks for the angle of a joint, in degrees. */
export const Joint = defineCallable<{ joint: number }, { degrees: number }>({
  address: "arm/joint",
  idempotent: true,
  timeoutMs: 5000,
});

/** Picks up a part. */
export const Pick = defineJob<
  { part: string },
  { phase: string; heightMm: number },
  { grams: number }
>({ address: "arm/pick" });

/** Calibrates all joints. */
export const Calibrate = defineJob<
  { joints: number },
  { joint: number },
  { calibrated: number }
>({ address: "arm/calibrate" });

/** What the arm has counted since it was started. */
export const ArmReport = defineCallable<null, {
  pid: number;
  running: number;
  done: number;
  stopped: number;
}>({ address: "arm/report", idempotent: true, timeoutMs: 5000 });

/** Kills a process with SIGKILL; answers when it is dead. */
export const Kill = defineCallable<
  { module: "sensor" | "arm" },
  { pid: number; signal: string | null }
>({ address: "conductor/kill", timeoutMs: 10_000 });
