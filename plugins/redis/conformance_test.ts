import { conformance } from "@patchbay/core/conformance";
import fixture, { atLeastOnce } from "./fixture.ts";

conformance(fixture);
conformance(atLeastOnce);
