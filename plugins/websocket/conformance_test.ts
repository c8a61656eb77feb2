import { conformance } from "@patchbay/core/conformance";
import fixture, { farIsHub, nearIsHub, overNode } from "./fixture.ts";

conformance(fixture);
conformance(farIsHub);
conformance(nearIsHub);
conformance(overNode);
