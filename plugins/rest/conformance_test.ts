import { conformance } from "@patchbay/core/conformance";
import fixture, { overHttp2, overUnix } from "./fixture.ts";

conformance(fixture);
conformance(overUnix);
conformance(overHttp2);
