/**
 * The page's worker: computes spectra.
 *
 * @module
 */

import { open } from "@patchbay/core";
import worker from "@patchbay/worker";
import { Spectrum } from "../contracts.ts";

/** The amplitude at each frequency up to half the sampling rate (Goertzel's sums, unhurried). */
function spectrum(values: Float64Array): Float64Array {
  const size = values.length;
  const mean = values.reduce((sum, value) => sum + value, 0) / size;
  const amplitudes = new Float64Array(size / 2);
  for (let bin = 0; bin < amplitudes.length; bin++) {
    let real = 0;
    let imaginary = 0;
    for (let n = 0; n < size; n++) {
      // Hann's window keeps neighbours apart.
      const value = (values[n] - mean) * (0.5 - 0.5 * Math.cos(2 * Math.PI * n / size));
      real += value * Math.cos(2 * Math.PI * bin * n / size);
      imaginary -= value * Math.sin(2 * Math.PI * bin * n / size);
    }
    amplitudes[bin] = 4 * Math.hypot(real, imaginary) / size;
  }
  return amplitudes;
}

const bay = await open({ module: "lab", plugins: [worker] });
await bay.serve(Spectrum, (bytes) => {
  const values = new Float64Array(bytes.slice().buffer);
  return new Uint8Array(spectrum(values).buffer);
});
