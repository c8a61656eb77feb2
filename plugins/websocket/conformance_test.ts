import { CASES, conformance } from "@patchbay/core/conformance";
import fixture, { farIsHub, nearIsHub } from "./fixture.ts";

/**
 * This case takes for granted that what one speaker shouted first is heard before what another
 * speaker shouted next. No trait promises that, and over two connections to a hub it is not so.
 */
const ASSUMES_ORDER = "speaker: a schema refuses at the speaker, and the listener gets its output";

const cases = CASES.filter((each) => each.name !== ASSUMES_ORDER);

conformance(fixture, cases);
conformance(farIsHub, cases);
conformance(nearIsHub, cases);

Deno.test({
  name: `websocket: ${ASSUMES_ORDER}: left out, it assumes an order between two speakers; ` +
    "let the case wait for the reports instead of counting them at once",
  ignore: true,
  fn: () => {},
});
