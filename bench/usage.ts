/**
 * What a process has used, read from Linux's `/proc`: CPU time and the peak of its memory.
 *
 * @module
 */

import process from "node:process";

/** CPU time that this process has used, user and system, in µs. */
function ownCpuMicros(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

/** CPU time of another process's threads, in µs; NaN where there is no `/proc`. */
function otherCpuMicros(pid: number): number {
  try {
    let nanos = 0;
    // `stat` counts in ticks of 10 ms; the scheduler's own count of each thread is exact.
    for (const thread of Deno.readDirSync(`/proc/${pid}/task`)) {
      const text = Deno.readTextFileSync(`/proc/${pid}/task/${thread.name}/schedstat`);
      nanos += Number(text.split(" ", 1)[0]);
    }
    return nanos / 1000;
  } catch {
    return NaN;
  }
}

/**
 * CPU time that a process has used, user and system, in µs.
 *
 * @param pid The process.
 */
export function cpuMicros(pid: number): number {
  return pid === Deno.pid ? ownCpuMicros() : otherCpuMicros(pid);
}

/**
 * The most memory that a process had since {@link resetPeak}, in MB; NaN where there is no `/proc`.
 *
 * @param pid The process.
 */
export function peakMb(pid: number): number {
  try {
    const text = Deno.readTextFileSync(`/proc/${pid}/status`);
    return Number(/^VmHWM:\s*(\d+) kB$/m.exec(text)?.[1]) / 1024;
  } catch {
    return NaN;
  }
}

/**
 * Lets the peak begin anew (proc(5), `clear_refs`: 5).
 *
 * @param pid The process.
 */
export function resetPeak(pid: number): void {
  try {
    Deno.writeTextFileSync(`/proc/${pid}/clear_refs`, "5", { create: false });
  } catch {
    // Where it cannot be reset, the peak is that of the whole run.
  }
}
