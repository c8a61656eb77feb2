/**
 * A mass on a spring, pulled by a motor: something that moves, can be called and takes its time.
 *
 * @module
 */

import type { Bay } from "@patchbay/patchbay";
import { type Drive, Signal, Sweep, Tune } from "./contracts.ts";

/** How often it is measured, in hertz. */
const RATE = 50;
/** The frequency at which the mass swings by itself, in hertz, and how much it is damped. */
const OWN_FREQUENCY = 1.7;
const DAMPING = 0.12;
/** How long one frequency of a sweep takes, in milliseconds. */
const STEP_MS = 60;

/** The mass and its spring. */
class Spring {
  #position = 0;
  #speed = 0;
  #phase = 0;

  /** Lets some time pass, in small steps. */
  pass(seconds: number, { frequency, amplitude }: Drive): { wanted: number; measured: number } {
    const steps = 20;
    const dt = seconds / steps;
    const own = 2 * Math.PI * OWN_FREQUENCY;
    let wanted = 0;
    for (let i = 0; i < steps; i++) {
      this.#phase += 2 * Math.PI * frequency * dt;
      wanted = amplitude * Math.sin(this.#phase);
      const pull = own * own * (wanted - this.#position) - 2 * DAMPING * own * this.#speed;
      this.#speed += pull * dt;
      this.#position += this.#speed * dt;
    }
    return { wanted, measured: this.#position };
  }
}

/** How much further the mass moves than the motor, once it has settled. */
function gainAt(frequency: number): number {
  const spring = new Spring();
  let largest = 0;
  for (let n = 0; n < 60 * RATE; n++) {
    const { measured } = spring.pass(1 / RATE, { frequency, amplitude: 1 });
    if (n > 40 * RATE) largest = Math.max(largest, Math.abs(measured));
  }
  return largest;
}

/**
 * Puts the plant on the wires of a bay; it ends with the bay.
 *
 * @param bay The bay.
 */
export async function startPlant(bay: Bay): Promise<void> {
  let drive: Drive = { frequency: 0.8, amplitude: 10 };
  await bay.serve(Tune, (change) => drive = { ...drive, ...change });

  await bay.perform(Sweep, async function* ({ steps }, { signal }) {
    let best = { frequency: 0, gain: 0 };
    for (let step = 1; step <= steps; step++) {
      signal.throwIfAborted();
      const frequency = 0.2 + 3.8 * (step - 1) / Math.max(1, steps - 1);
      const gain = gainAt(frequency);
      if (gain > best.gain) best = { frequency, gain };
      yield { step, of: steps, frequency, gain };
      await new Promise((resolve) => setTimeout(resolve, STEP_MS));
    }
    return best.frequency;
  });

  const speaker = await bay.speaker(Signal);
  const spring = new Spring();
  let ticks = 0;
  const timer = setInterval(() => {
    const { wanted, measured } = spring.pass(1 / RATE, drive);
    const noise = (Math.random() - 0.5) * 0.4;
    void speaker.shout({ atS: ++ticks / RATE, wanted, measured: measured + noise });
  }, 1000 / RATE);
  bay.signal.addEventListener("abort", () => clearInterval(timer));
}
