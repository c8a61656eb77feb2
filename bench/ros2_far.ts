/**
 * The far process of the ros2 suite: `ros2_far.ts ours DOMAIN`, `ros2_far.ts bay DOMAIN` or
 * `ros2_far.ts bare`. Prints a line when it is ready, the port with it, and ends when its input does.
 *
 * @module
 */

import { type Bay, open } from "@patchbay/core";
import ros2 from "@patchbay/ros2";
import { Participant, type Qos } from "@patchbay/ros2/rtps";

/** What ROS 2's default profile asks for. */
export const PING_QOS: Partial<Qos> = { depth: 10 };
/** Everything arrives, and the writer is held back. */
export const STREAM_QOS: Partial<Qos> = { history: "keep_all" };

/** A participant of this suite: loopback alone. */
export function openParticipant(domain: number): Promise<Participant> {
  return Participant.open({ domain, interfaces: ["127.0.0.1"] });
}

/** The part of a UDP socket that the floors use. */
export interface Datagrams {
  /** Where it is bound. */
  readonly addr: { hostname: string; port: number };
  /** Waits for one. */
  receive(buffer: Uint8Array): Promise<[Uint8Array, unknown]>;
  /** Sends one. */
  send(bytes: Uint8Array, to: unknown): Promise<number>;
}

/** A bare UDP socket on loopback. */
export function bareSocket(): Datagrams {
  const { listenDatagram } = Deno as unknown as { listenDatagram(options: unknown): Datagrams };
  return listenDatagram({ transport: "udp", hostname: "127.0.0.1", port: 0 });
}

/** What a floor's datagram wants, by its first byte. */
export const Want = { echo: 1, nothing: 2, answer: 3 } as const;

async function bare(): Promise<void> {
  const socket = bareSocket();
  console.log(socket.addr.port);
  const buffer = new Uint8Array(65_536);
  const answer = new Uint8Array(4);
  for (;;) {
    const [bytes, from] = await socket.receive(buffer);
    if (bytes[0] === Want.echo) await socket.send(bytes, from);
    else if (bytes[0] === Want.answer) await socket.send(answer, from);
  }
}

async function ours(domain: number): Promise<void> {
  const participant = await openParticipant(domain);
  const back = participant.createWriter({ topic: "rt/pong", type: "Bytes", qos: PING_QOS });
  participant.createReader({
    topic: "rt/ping",
    type: "Bytes",
    qos: PING_QOS,
    onSample: ({ payload }) => back.write(payload.slice()),
  });
  let next = 0;
  participant.createReader({
    topic: "rt/stream",
    type: "Bytes",
    qos: STREAM_QOS,
    onSample: ({ payload, sequence }) => {
      const number = new DataView(payload.buffer, payload.byteOffset).getUint32(4, true);
      if (next !== 0 && sequence !== next) throw new Error(`${sequence} instead of ${next}`);
      if (number !== sequence) throw new Error(`garbled: ${number} in ${sequence}`);
      next = sequence + 1;
    },
  });
  console.log("ready");
}

/** What texts are in ROS. */
export const TEXT = { ros2: { type: "std_msgs/msg/String" } };
/** What streams are in ROS; what waits for a listener is held back, not pushed out. */
export const STREAM_NAME: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  texts: { ros2: { type: "std_msgs/msg/String", qos: { history: "keep_all" } } },
  images: { ros2: { type: "sensor_msgs/msg/Image", qos: { history: "keep_all" } } },
};

/** What the far bay tells: how many came at an address, as soon as so many have. */
export interface Wanted {
  /** The address. */
  readonly address: string;
  /** How many. */
  readonly atLeast: number;
}

/** A bay of this suite: loopback alone; what has no type travels as JSON. */
export function openNode(module: string, domain: number): Promise<Bay> {
  const config = { ros2: { domain, range: "localhost", json: true } } as const;
  return open({ module, plugins: [ros2], config });
}

async function bay(domain: number): Promise<void> {
  const bay = await openNode("far", domain);
  const counts: Record<string, number> = { texts: 0, images: 0 };
  let waiting: (() => boolean)[] = [];
  // Who asked again and again would take from what is measured.
  await bay.serve("count", (wanted) => {
    const { address, atLeast } = wanted as Wanted;
    return new Promise<number>((resolve) => {
      const look = () => counts[address] >= atLeast && (resolve(counts[address]), true);
      if (!look()) waiting.push(look);
    });
  });
  const pong = await bay.speaker({ pattern: "speaker", address: "pong", native: TEXT });
  await bay.listen(
    { pattern: "speaker", address: "ping", native: TEXT },
    (value) => void pong.shout(value),
  );
  for (const address of Object.keys(counts)) {
    const native = STREAM_NAME[address];
    await bay.listen({ pattern: "speaker", address, native }, () => {
      counts[address]++;
      if (waiting.length > 0) waiting = waiting.filter((look) => !look());
    });
  }
  console.log("ready");
}

async function main([role, domain]: string[]): Promise<void> {
  if (role === "bare") void bare();
  else if (role === "bay") await bay(Number(domain));
  else await ours(Number(domain));
  await Deno.stdin.read(new Uint8Array(1));
  Deno.exit(0);
}

if (import.meta.main) await main(Deno.args);
