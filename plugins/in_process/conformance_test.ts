import { conformance } from "@patchbay/core/conformance";
import fixture, { checking } from "./fixture.ts";

conformance(fixture);
conformance(checking);
