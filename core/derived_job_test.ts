import assert from "node:assert/strict";
import { CASES, conformance, type Fixture, type Meeting } from "@patchbay/core/conformance";
import inProcess, { Room } from "@patchbay/in_process";
import inProcessFixture from "../plugins/in_process/fixture.ts";
import { deriveJobs, type OpenOptions, Patchbay, PatchbayError, type Plugin } from "./mod.ts";
import type { Transport } from "./plugin.ts";
import { wrapTransport } from "./layer.ts";

/** in_process as if it had no jobs: they are derived. */
function derived(tamper: (transport: Transport) => Transport = (t) => t): Plugin {
  const plugin = inProcess as Plugin;
  return {
    ...plugin,
    traits: { ...plugin.traits, job: "derived" },
    open: async (context, config) => {
      const { perform: _p, executor: _e, ...rest } = wrapTransport(
        await plugin.open(context, config),
        {},
      );
      return deriveJobs(tamper(rest), context);
    },
  };
}

function meeting(checkValues: boolean): Promise<Meeting> {
  const room = new Room();
  const plugin = derived();
  return Promise.resolve({
    options: (module, overrides): OpenOptions => ({
      ...overrides,
      module,
      plugins: [plugin],
      config: { in_process: { room, checkValues } },
    }),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  });
}

const fixture: Fixture = {
  ...inProcessFixture,
  plugin: derived(),
  name: "derived jobs",
  refusesUnportable: true,
  meeting: () => meeting(true),
};

conformance(
  fixture,
  CASES.filter((one) => one.pattern === "job" || /^servers|^lifecycle/.test(one.name)),
);

void assert;
void PatchbayError;
void Patchbay;
