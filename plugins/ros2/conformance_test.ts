import { conformance } from "@patchbay/core/conformance";
import fixture from "./fixture.ts";

conformance(fixture);
