import { conformance } from "@patchbay/core/conformance";
import fixture, { overTcp } from "./fixture.ts";

conformance(fixture);
conformance(overTcp);
