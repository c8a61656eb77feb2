/**
 * Names, request headers, and what participants tell of their nodes.
 *
 * @module
 */

import assert from "node:assert/strict";
import { unhex } from "../rtps/guid.ts";
import { Participant } from "../rtps/mod.ts";
import { Place } from "../rtps/testdata/place.ts";
import { Lonely, Stranger, writerId } from "../rtps/testdata/stranger.ts";
import { Types } from "../types/mod.ts";
import { DiscoveryInfo, type GidBytes, type NodeEntry } from "./discovery_info.ts";
import {
  actionNames,
  replyName,
  requestName,
  resolveName,
  rosName,
  rosType,
  topicName,
} from "./names.ts";
import {
  conventionOf,
  idParameters,
  readIdInBody,
  readIdParameter,
  withIdInBody,
} from "./request_header.ts";

Deno.test("names: relative, absolute and the node's own", () => {
  assert.equal(resolveName("chatter"), "/chatter");
  assert.equal(resolveName("chatter", "/arm"), "/arm/chatter");
  assert.equal(resolveName("/chatter", "/arm"), "/chatter");
  assert.equal(resolveName("~/state", "/arm", "left"), "/arm/left/state");
  assert.equal(resolveName("~", "/", "left"), "/left");
  for (const bad of ["", "a//b", "1a", "a b", "a__b", "a/", "/"]) {
    assert.throws(() => resolveName(bad), { code: "invalid" }, bad);
  }
});

Deno.test("names: to the wire and back", () => {
  assert.equal(topicName("/chatter"), "rt/chatter");
  assert.equal(requestName("/s"), "rq/sRequest");
  assert.equal(replyName("/s"), "rr/sReply");
  assert.equal(requestName(actionNames("/f").sendGoal), "rq/f/_action/send_goalRequest");
  assert.deepEqual(rosName("rq/f/_action/send_goalRequest"), {
    kind: "request",
    name: "/f/_action/send_goal",
  });
  assert.deepEqual(rosName("rt/chatter"), { kind: "topic", name: "/chatter" });
  assert.equal(rosName("Square"), undefined);
  assert.equal(rosType("std_srvs::srv::dds_::SetBool_Request_"), "std_srvs/srv/SetBool_Request");
  assert.equal(rosType("ShapeType"), undefined);
});

Deno.test("request header: both ways keep the id and the body", () => {
  assert.equal(conventionOf(0x0110), "body");
  assert.equal(conventionOf(0x010f), "parameter");
  const payload = Uint8Array.of(0, 1, 0, 0, 7, 8, 9, 10);
  const inBody = { client: "0102030405060708", number: -5n };
  assert.deepEqual(readIdInBody(withIdInBody(payload, inBody)), { id: inBody, payload });
  assert.throws(() => readIdInBody(payload), { code: "protocol" });
  for (const number of [1n, 2n ** 33n + 5n, -1n << 32n]) {
    const id = { client: "00112233445566778899aabbccddeeff", number };
    assert.deepEqual(readIdParameter(idParameters(id)), id);
    assert.deepEqual([...idParameters(id).keys()].sort(), [0x83, 0x800f], "newer ones and 2.9");
    const [[, value]] = idParameters(id);
    assert.deepEqual(readIdParameter(new Map([[0x800f, value]])), id, "what Fast DDS 2.9 sends");
  }
  assert.equal(readIdParameter(new Map([[0x83, payload]])), undefined);
});

Deno.test("discovery info: ids are as long as those of real nodes, unless that is said", async () => {
  const types = new Types({ definitions: { "rmw_dds_common/msg/Gid": "char[24] data" } });
  const type = types.message("rmw_dds_common/ParticipantEntitiesInfo");
  const qos = { durability: "transient_local" } as const;
  const topic = { topic: "ros_discovery_info", type: type.ddsName, qos };
  for (const gidBytes of [undefined, 16] as const) {
    await using lonely = await Lonely.open();
    const { participant } = lonely;
    const told: number[] = [];
    participant.createWriter = (options) => {
      const writer = Participant.prototype.createWriter.call(participant, options);
      const write = writer.write.bind(writer);
      writer.write = (payload, more) => {
        told.push(payload.length);
        return write(payload, more);
      };
      return writer;
    };
    const onReport = (error: unknown) => lonely.reports.push(error);
    using info = new DiscoveryInfo(participant, { gidBytes, onReport });
    const humble = new Stranger(lonely);
    await lonely.hear(humble.announce());
    await lonely.hear(humble.endpoint("writer", writerId(1), topic));
    const data = new Uint8Array(24);
    data.set(unhex(`${humble.prefix}000001c1`));
    const payload = type.encode({ gid: { data }, node_entities_info_seq: [] });
    await lonely.hear(
      humble.say((to) => to.data(0, writerId(1), 1, 0, payload, false, undefined)),
    );
    assert.deepEqual(info.remote.get(humble.prefix), []);
    // Four bytes before it, and the number of its nodes behind it.
    assert.deepEqual(told, gidBytes === undefined ? [4 + 16 + 4, 4 + 24 + 4] : [4 + 16 + 4]);
    assert.deepEqual(lonely.reports, []);
  }
});

for (const gidBytes of [16, 24] as GidBytes[]) {
  Deno.test(`discovery info: nodes are told with ids of ${gidBytes} bytes, and understood`, async () => {
    await using place = new Place();
    const [a, b] = [await place.participant(), await place.participant()];
    const reports: unknown[] = [];
    const onReport = (error: unknown) => reports.push(error);
    const guid = (n: number) => `${a.prefix}0000${n.toString(16).padStart(2, "0")}03`;
    const nodes: NodeEntry[] = [
      { namespace: "/", name: "talker", readers: [], writers: [guid(1), guid(2)] },
      { namespace: "/arm", name: "listener", readers: [guid(3)], writers: [] },
    ];
    using told = new DiscoveryInfo(a, { gidBytes, onReport });
    told.setNodes(nodes);
    // The other may write the other size: it reads both.
    using heard = new DiscoveryInfo(b, { onReport, onNodes: place.touch });
    await place.until(() => heard.remote.get(a.prefix)?.length === 2, "the nodes");
    assert.deepEqual(heard.remote.get(a.prefix), nodes);
    heard.setNodes([{ namespace: "/", name: "talker", readers: [], writers: [] }]);
    assert.deepEqual(heard.duplicates, ["/talker"]);
    await a.close();
    await place.until(() => heard.remote.size === 0, "its end");
    assert.deepEqual(reports, []);
  });
}
