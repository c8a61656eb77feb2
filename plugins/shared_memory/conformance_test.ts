import { conformance } from "@patchbay/core/conformance";
import fixture, { bySemaphore } from "./fixture.ts";

conformance(fixture);
conformance(bySemaphore);
