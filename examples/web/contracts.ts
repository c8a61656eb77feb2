/**
 * What the plant, the page and its worker call one another.
 *
 * @module
 */

import { defineCallable, defineJob, defineSpeaker } from "@patchbay/core";

/** What the plant measures, fifty times a second. */
export interface Sample {
  /** Since the plant was started, in seconds. */
  readonly atS: number;
  /** Where the motor wants the mass to be, in millimetres. */
  readonly wanted: number;
  /** Where it is. */
  readonly measured: number;
}

/** How the motor moves. */
export interface Drive {
  /** How often, in hertz. */
  readonly frequency: number;
  /** How far, in millimetres. */
  readonly amplitude: number;
}

/** One frequency of a sweep. */
export interface SweepPoint {
  /** Which, from 1. */
  readonly step: number;
  /** Of how many. */
  readonly of: number;
  /** In hertz. */
  readonly frequency: number;
  /** How much further the mass moves than the motor. */
  readonly gain: number;
}

/** The measurements. */
export const Signal = defineSpeaker<Sample>({ address: "plant/signal", retain: true });

/** Changes how the motor moves; answers with what it does now. */
export const Tune = defineCallable<Partial<Drive>, Drive>({ address: "plant/tune" });

/** Measures how the mass answers to each of many frequencies; gives the frequency of resonance. */
export const Sweep = defineJob<{ readonly steps: number }, SweepPoint, number>({
  address: "plant/sweep",
});

/** How many measurements a spectrum is made of: a power of two. */
export const WINDOW = 256;

/** The spectrum of {@link WINDOW} numbers, both as the bytes of 64-bit floats. */
export const Spectrum = defineCallable<Uint8Array, Uint8Array>({ address: "lab/spectrum" });
