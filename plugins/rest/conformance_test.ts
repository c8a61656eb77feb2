import { conformance } from "@patchbay/core/conformance";
import fixture, { overUnix } from "./fixture.ts";

conformance(fixture);
conformance(overUnix);
