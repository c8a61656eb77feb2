/**
 * The page: plots what the plant shouts, calls it, runs its job, and has spectra computed by a
 * worker.
 *
 * @module
 */

import { type JobHandle, open, PatchbayError } from "@patchbay/core";
import websocket from "@patchbay/websocket/browser";
import worker from "@patchbay/worker";
import {
  type Sample,
  Signal,
  Spectrum,
  Sweep,
  type SweepPoint,
  Tune,
  WINDOW,
} from "../contracts.ts";
import { Plot } from "./plots.ts";

/** How many measurements the page shows: 12 seconds. */
const SHOWN = 600;
/** How many frequencies a sweep has. */
const STEPS = 60;
/** How often the plant measures, in hertz. */
const RATE = 50;

const byId = <E extends HTMLElement>(id: string) => document.getElementById(id) as E;
const say = (id: string, text: string) => byId(id).textContent = text;

// ----- what is shown -----

const plots = {
  signal: new Plot(byId("signal"), {
    unit: "s",
    range: [-15, 15],
    lines: [
      { label: "motor", colour: "wanted" },
      { label: "mass", colour: "measured", filled: true },
    ],
  }),
  sweep: new Plot(byId("sweep"), {
    unit: "Hz",
    range: [0, 3],
    lines: [{ label: "gain", colour: "gain", filled: true }],
  }),
  spectrum: new Plot(byId("spectrum"), {
    unit: "Hz",
    range: [0, 5],
    lines: [{ label: "mm", colour: "bars", bars: true }],
  }),
};

const dark = matchMedia("(prefers-color-scheme: dark)");
function paint(theme: "dark" | "light"): void {
  document.documentElement.dataset.theme = theme;
  for (const plot of Object.values(plots)) plot.recolour();
}
paint(dark.matches ? "dark" : "light");
dark.addEventListener("change", () => paint(dark.matches ? "dark" : "light"));
byId("theme").addEventListener("click", () => {
  paint(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
});

// ----- the bay -----

const { url } = await (await fetch("/config.json")).json() as { url: string };
const bay = await open({
  module: "page",
  plugins: [websocket, worker],
  config: { websocket: { url } },
  onReport: (error) => console.error(error.message),
});

function showWire(): void {
  const wire = bay.wires().find(({ name }) => name === "websocket");
  const healthy = wire?.health?.status === "healthy";
  byId("wire").dataset.state = healthy ? "healthy" : "down";
  say("wire", healthy ? "connected" : "reconnecting…");
  byId("wire").title = wire?.health?.reason ?? url;
}

// ----- the speaker -----

const samples: Sample[] = [];
let heard = 0;
let lost = 0;
let last = 0;
await bay.listen(Signal, (sample, { sequence }) => {
  if (last !== 0 && sequence > last + 1) lost += sequence - last - 1;
  last = sequence;
  heard++;
  samples.push(sample);
  if (samples.length > SHOWN) samples.shift();
}, { overflow: "drop_oldest", maxQueue: 100 });

function draw(): void {
  plots.signal.show([
    samples.map(({ atS }) => atS),
    samples.map(({ wanted }) => wanted),
    samples.map(({ measured }) => measured),
  ]);
  requestAnimationFrame(draw);
}
requestAnimationFrame(draw);

let before = heard;
setInterval(() => {
  say("rate", String(heard - before));
  say("lost", String(lost));
  before = heard;
  showWire();
}, 1000);
showWire();

// ----- the callable -----

/** Words for a person. */
function words(error: unknown): string {
  const known = PatchbayError.fromThrown(error);
  return `${known.code}: ${known.message}`;
}

async function tune(): Promise<void> {
  const frequency = byId<HTMLInputElement>("frequency").valueAsNumber;
  const amplitude = byId<HTMLInputElement>("amplitude").valueAsNumber;
  say("frequency-value", `${frequency.toFixed(2)} Hz`);
  say("amplitude-value", `${amplitude.toFixed(1)} mm`);
  const startMs = performance.now();
  try {
    const drive = await bay.call(Tune, { frequency, amplitude });
    const tookMs = performance.now() - startMs;
    say(
      "answer",
      `${drive.frequency} Hz, ${drive.amplitude} mm: answered in ${tookMs.toFixed(1)} ms`,
    );
  } catch (error) {
    say("answer", words(error));
  }
}
for (const id of ["frequency", "amplitude"]) byId(id).addEventListener("input", tune);
for (const button of document.querySelectorAll<HTMLButtonElement>(".presets button")) {
  button.addEventListener("click", () => {
    const { frequency = "", amplitude = "" } = button.dataset;
    byId<HTMLInputElement>("frequency").value = frequency;
    byId<HTMLInputElement>("amplitude").value = amplitude;
    void tune();
  });
}

// ----- the job -----

const start = byId<HTMLButtonElement>("start");
const cancel = byId<HTMLButtonElement>("cancel");
let job: JobHandle<SweepPoint, number> | undefined;

async function sweep(): Promise<void> {
  start.disabled = true;
  const points: SweepPoint[] = [];
  const progress = byId<HTMLProgressElement>("progress");
  try {
    job = await bay.execute(Sweep, { steps: STEPS });
    cancel.disabled = false;
    say("outcome", "running");
    for await (const point of job.feedback) {
      points.push(point);
      progress.value = point.step / point.of;
      say("percent", `${Math.round(100 * progress.value)} %`);
      plots.sweep.show([points.map((p) => p.frequency), points.map((p) => p.gain)]);
    }
    say("outcome", `resonance at ${(await job.result).toFixed(2)} Hz`);
  } catch (error) {
    say("outcome", error instanceof DOMException ? "cancelled" : words(error));
  }
  start.disabled = false;
  cancel.disabled = true;
}
start.addEventListener("click", sweep);
cancel.addEventListener("click", () => job?.cancel(new DOMException("by the user", "AbortError")));

// ----- the worker -----

const way = crossOriginIsolated ? "shared memory" : "messages";
say("explained", `Computed in a Web Worker ten times a second, reached through ${way}.`);
const lab = bay.transport(worker).spawn("/spectrum_worker.js", { name: "spectrum" });
await bay.waitFor(Spectrum);
setInterval(async () => {
  if (samples.length < WINDOW) return;
  const values = Float64Array.from(samples.slice(-WINDOW), ({ measured }) => measured);
  try {
    const startMs = performance.now();
    const bytes = await bay.call(Spectrum, new Uint8Array(values.buffer));
    say("took", `${(performance.now() - startMs).toFixed(1)} ms`);
    const amplitudes = new Float64Array(bytes.slice().buffer);
    const shown = amplitudes.subarray(0, WINDOW * 5 / RATE);
    plots.spectrum.show([Array.from(shown, (_, bin) => bin * RATE / WINDOW), Array.from(shown)]);
  } catch (error) {
    say("explained", words(error));
  }
}, 100);

// For the tests, and for whoever opens the console.
Object.assign(globalThis, { bay, lab });
