import { conformance } from "@patchbay/core/conformance";
import fixture, { farIsManager } from "./fixture.ts";

conformance(fixture);
conformance(farIsManager);
