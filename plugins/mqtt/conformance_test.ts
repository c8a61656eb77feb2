import { conformance } from "@patchbay/core/conformance";
import { requireOrIgnore } from "../../tests/require.ts";
import fixture, { atLeastOnce, embedded, older } from "./fixture.ts";
import { probeMosquitto } from "./mosquitto_fixture.ts";

const mosquitto = await requireOrIgnore(
  "mqtt",
  probeMosquitto,
  "apt-get install mosquitto mosquitto-clients",
);

if (mosquitto.ignore) {
  Deno.test({ name: mosquitto.name("mqtt: conformance"), ignore: true, fn: () => {} });
} else {
  conformance(fixture);
  conformance(atLeastOnce);
  conformance(older);
}
conformance(embedded);
