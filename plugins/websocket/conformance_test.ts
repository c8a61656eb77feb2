import { conformance } from "@patchbay/core/conformance";
import fixture, { farIsHub, nearIsHub } from "./fixture.ts";

conformance(fixture);
conformance(farIsHub);
conformance(nearIsHub);
