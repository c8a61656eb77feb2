/**
 * A fixture whose child process has a room of its own: nobody meets, but the child can be told what
 * to do. With the place `"leak"` it leaves a timer behind.
 *
 * @module
 */

import inProcess from "@patchbay/in_process";
import type { Fixture, Json, Meeting } from "../plugin_fixture.ts";

function meeting(place: Json): Promise<Meeting> {
  return Promise.resolve({
    place,
    options: (module) => {
      if (place === "leak" && module === "far") setInterval(() => {}, 1000);
      return { module, plugins: [inProcess] };
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  });
}

const fixture: Fixture = {
  plugin: inProcess,
  url: import.meta.url,
  layouts: ["two_processes"],
  largestPayloadBytes: 0,
  meeting: () => meeting(null),
  join: meeting,
};

/** The same, but its child does not end by itself. */
export const leaking: Fixture = { ...fixture, meeting: () => meeting("leak") };

export default fixture;
