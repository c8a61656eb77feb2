/**
 * Numbers as people read them: counts, bytes, durations, rates.
 *
 * @module
 */

function significant(value: number): string {
  if (value >= 1000 || value === 0) return String(Math.round(value));
  return value.toPrecision(3).replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "");
}

/**
 * A count with its thousands set apart: `1 234 567`.
 *
 * @param count A whole number.
 */
export function formatCount(count: number): string {
  return String(count).replace(/\B(?=(\d{3})+$)/g, " ");
}

/**
 * A size: `512 B`, `1.5 KiB`.
 *
 * @param bytes The size in bytes.
 */
export function formatBytes(bytes: number): string {
  if (bytes === Infinity) return "no limit";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  for (; bytes >= 1024 && unit < units.length - 1; unit++) bytes /= 1024;
  return `${significant(bytes)} ${units[unit]}`;
}

/**
 * A short duration: `85.2 µs`, `1.2 ms`, `3 s`.
 *
 * @param ms The duration in milliseconds.
 */
export function formatDuration(ms: number): string {
  if (!Number.isFinite(ms)) return "–";
  if (ms < 0.001) return `${significant(ms * 1e6)} ns`;
  if (ms < 1) return `${significant(ms * 1000)} µs`;
  if (ms < 1000) return `${significant(ms)} ms`;
  return `${significant(ms / 1000)} s`;
}

/**
 * How long something has lasted: `42 s`, `3 min 12 s`, `5 h 2 min`, `3 d 4 h`.
 *
 * @param ms The duration in milliseconds.
 */
export function formatAge(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const parts: [number, string][] = [
    [Math.floor(seconds / 86_400), "d"],
    [Math.floor(seconds / 3600) % 24, "h"],
    [Math.floor(seconds / 60) % 60, "min"],
    [seconds % 60, "s"],
  ];
  const first = parts.findIndex(([n]) => n > 0);
  if (first < 0) return "0 s";
  return parts.slice(first, first + 2).filter(([n]) => n > 0).map(([n, u]) => `${n} ${u}`)
    .join(" ");
}

/**
 * A rate: `99.8 Hz`, `1.2 kHz`.
 *
 * @param hz The rate per second.
 */
export function formatRate(hz: number): string {
  if (!Number.isFinite(hz)) return "–";
  if (hz >= 1_000_000) return `${significant(hz / 1_000_000)} MHz`;
  if (hz >= 10_000) return `${significant(hz / 1000)} kHz`;
  return `${significant(hz)} Hz`;
}
