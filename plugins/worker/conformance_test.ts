import { conformance } from "@patchbay/core/conformance";
import { fixtures } from "./fixture.ts";

for (const fixture of fixtures) conformance(fixture);
