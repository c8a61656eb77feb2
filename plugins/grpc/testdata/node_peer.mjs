// A gRPC program on plain Node, with grpc-js and nothing of Patchbay. It is run with the folder that
// holds grpc-js as its first argument; it reads commands as JSON lines and answers the same way.
import { createRequire } from "node:module";
import readline from "node:readline";

const [, , modules, ...rest] = process.argv;
const require = createRequire(`${modules}/`);
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const say = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);
const load = (file) =>
  grpc.loadPackageDefinition(
    loader.loadSync(file, {
      keepCase: true,
      longs: String,
      enums: String,
      defaults: true,
      oneofs: true,
    }),
  );
const protos = rest[0];
const { patchbay } = load(`${protos}/patchbay/v1/patchbay.proto`);
let server;
let calls = 0;

const commands = {
  // Serves Call, and answers with what it was asked.
  async serve({ target }) {
    server = new grpc.Server();
    server.addService(patchbay.v1.Patchbay.service, {
      Call(call, done) {
        calls++;
        const { address, json } = call.request;
        if (address.endsWith("/fail")) {
          return done({ code: grpc.status.FAILED_PRECONDITION, details: "the gripper is open" });
        }
        done(null, { json });
      },
      Listen(stream) {
        stream.once("data", ({ pattern }) => {
          stream.sendMetadata(new grpc.Metadata());
          for (let sequence = 1; sequence <= 3; sequence++) {
            stream.write({ address: pattern, json: String(sequence), sequence, origin: "node" });
          }
        });
        stream.on("end", () => stream.end());
      },
      Execute(stream) {
        stream.once("data", ({ goal }) => {
          stream.write({ accepted: { id: goal.id } });
          stream.write({ feedback: { sequence: 1, json: '"half"' } });
          stream.write({ result: { json: goal.json } });
          stream.end();
        });
      },
      WatchPresence(stream) {
        stream.on("data", () =>
          stream.write({
            module: "node",
            instance: "node",
            id: "00000000000000aa",
            endpoints: [
              { pattern: "PATTERN_CALLABLE", address: "node/echo" },
              { pattern: "PATTERN_CALLABLE", address: "node/fail" },
              { pattern: "PATTERN_SPEAKER", address: "node/count" },
              { pattern: "PATTERN_JOB", address: "node/work" },
            ],
          }));
        stream.on("end", () => stream.end());
      },
    });
    const port = await new Promise((resolve, reject) =>
      server.bindAsync(
        target,
        grpc.ServerCredentials.createInsecure(),
        (error, bound) => error ? reject(error) : resolve(bound),
      )
    );
    return { port };
  },
  // Closes well: every client is sent a GOAWAY.
  shutdown: () => new Promise((resolve) => server.tryShutdown(() => resolve({ calls }))),
  // Calls so often, and closes well: the server is sent a GOAWAY.
  async call({ target, address, json, times }) {
    const client = new patchbay.v1.Patchbay(target, grpc.credentials.createInsecure());
    let answer;
    for (let i = 0; i < times; i++) {
      answer = await new Promise((resolve, reject) =>
        client.Call({ address, json }, (error, value) => error ? reject(error) : resolve(value))
      );
    }
    client.close();
    return { json: answer.json };
  },
  // What a call fails with.
  fails: ({ target, address }) =>
    new Promise((resolve) => {
      const client = new patchbay.v1.Patchbay(target, grpc.credentials.createInsecure());
      client.Call({ address, json: "1" }, (error) => {
        client.close();
        resolve({ code: error?.code, details: error?.details });
      });
    }),
  // The first events of a stream.
  listen: ({ target, pattern, count }) =>
    new Promise((resolve, reject) => {
      const client = new patchbay.v1.Patchbay(target, grpc.credentials.createInsecure());
      const stream = client.Listen();
      const events = [];
      stream.on("metadata", () => say({ listening: true }));
      stream.on("data", ({ address, json }) => {
        events.push({ address, json });
        if (events.length < count) return;
        stream.cancel();
        client.close();
        resolve({ events });
      });
      stream.on("error", (error) => error.code === grpc.status.CANCELLED || reject(error));
      stream.write({ pattern });
    }),
  // A job from goal to result.
  execute: ({ target, address, json }) =>
    new Promise((resolve, reject) => {
      const client = new patchbay.v1.Patchbay(target, grpc.credentials.createInsecure());
      const stream = client.Execute();
      const steps = [];
      stream.on("data", (event) => steps.push(event.step));
      stream.on("error", reject);
      stream.on("end", () => {
        client.close();
        resolve({ steps });
      });
      stream.write({ goal: { address, json } });
    }),
};

say({ ready: true });
for await (const line of readline.createInterface({ input: process.stdin })) {
  const { name, ...about } = JSON.parse(line);
  try {
    say({ done: name, ...await commands[name](about) });
  } catch (error) {
    say({ failed: name, message: String(error) });
  }
}
process.exit(0);
