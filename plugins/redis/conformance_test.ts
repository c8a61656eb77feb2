import { conformance } from "@patchbay/core/conformance";
import { requireOrIgnore } from "../../tests/require.ts";
import { probeRedis } from "./redis_fixture.ts";
import fixture, { atLeastOnce } from "./fixture.ts";

const redis = await requireOrIgnore(
  "redis",
  probeRedis,
  "apt-get install redis-server redis-tools",
);

if (redis.ignore) {
  Deno.test({ name: redis.name("redis: conformance"), ignore: true, fn: () => {} });
} else {
  conformance(fixture);
  conformance(atLeastOnce);
}
