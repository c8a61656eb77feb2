// A program on plain Node that has MQTT.js and no Patchbay: node_peer.cjs LIBRARY PORT.
const mqtt = require(process.argv[2]);
const client = mqtt.connect({
  host: "127.0.0.1",
  port: Number(process.argv[3]),
  protocol: "mqtt",
  protocolVersion: 5,
});

client.on("connect", async () => {
  await client.subscribeAsync([
    "node/replies",
    "patchbay/call/node/upper",
    "patchbay/shout/desk/tick",
  ]);
  // Where Patchbay looks for who serves what.
  const note = { module: "node", serves: { "node/upper": "exclusive" } };
  await client.publishAsync("patchbay/bay/node-peer", JSON.stringify(note), {
    retain: true,
    qos: 1,
  });
  client.publish("patchbay/call/desk/double", "21", {
    properties: { responseTopic: "node/replies", correlationData: Buffer.from("1") },
  });
});

client.on("message", (topic, payload, packet) => {
  if (topic === "node/replies") return console.log(`answer ${payload}`);
  if (topic === "patchbay/shout/desk/tick") {
    const properties = { userProperties: { unit: "mm" } };
    return client.publish("patchbay/shout/node/tick", JSON.stringify(`${JSON.parse(payload)}!`), {
      properties,
    });
  }
  const value = JSON.parse(payload);
  const { responseTopic, correlationData } = packet.properties;
  if (typeof value === "string") {
    return client.publish(responseTopic, JSON.stringify(value.toUpperCase()), {
      properties: { correlationData },
    });
  }
  client.publish(responseTopic, "no text", {
    properties: { correlationData, userProperties: { "pb-error": "remote" } },
  });
});
