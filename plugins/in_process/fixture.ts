/**
 * How the tests run in_process: a meeting is a room.
 *
 * @module
 */

import type { Fixture, Meeting } from "@patchbay/core/conformance";
import inProcess, { Room } from "./mod.ts";

const NO_WIRE = "values are handed over: there is no wire to cut or to write to";

function meeting(checkValues: boolean): Promise<Meeting> {
  const room = new Room();
  return Promise.resolve({
    options: (module, overrides) => ({
      ...overrides,
      module,
      plugins: [inProcess],
      config: { in_process: { room, checkValues } },
    }),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  });
}

/** in_process as it is used: nothing is checked. */
const fixture: Fixture = {
  plugin: inProcess,
  url: import.meta.url,
  layouts: ["alone", "same_process"],
  lacks: {
    two_processes: "it lives in one process",
    sever: NO_WIRE,
    stranger: NO_WIRE,
    unavailable: "it can always be used",
  },
  largestPayloadBytes: 16 * 1024 * 1024,
  refusesUnportable: false,
  meeting: () => meeting(false),
};

/** in_process with `checkValues`: what is not portable is refused, the rest is frozen. */
export const checking: Fixture = {
  ...fixture,
  name: "in_process (checkValues)",
  refusesUnportable: true,
  meeting: () => meeting(true),
};

export default fixture;
