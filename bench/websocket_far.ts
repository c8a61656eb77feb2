/**
 * The far process of the websocket suite: `websocket_far.ts hub CODEC`, `websocket_far.ts bare` or
 * `websocket_far.ts crowd URL CLIENTS bare|ours`. Prints a line of JSON when it is ready, and ends
 * when its input does.
 *
 * @module
 */

import { open } from "@patchbay/core";
import websocket from "@patchbay/websocket";
import { MESSAGE, type Message } from "./uds_far.ts";

/** What a bay of this suite is opened with. */
export function openWebSocket(module: string, config: Record<string, unknown>) {
  return open({
    module,
    plugins: [websocket],
    maxMessageBytes: 64 * 1024 * 1024,
    config: { websocket: config },
  });
}

/** The bare server: `/echo` sends back what comes; `/add` answers texts; `/all` tells everybody. */
function bare(): string {
  const all = new Set<WebSocket>();
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, (request) => {
    const { pathname } = new URL(request.url);
    const { socket, response } = Deno.upgradeWebSocket(request);
    socket.binaryType = "arraybuffer";
    if (pathname === "/echo") socket.onmessage = ({ data }) => socket.send(data);
    else if (pathname === "/add") {
      socket.onmessage = ({ data }) => {
        const { id, args } = JSON.parse(data) as Message & { id: number };
        socket.send(JSON.stringify({ id, sum: args.x + args.y }));
      };
    } else if (pathname === "/all") {
      socket.onopen = () => all.add(socket);
      socket.onclose = () => all.delete(socket);
    } else {
      const text = JSON.stringify(MESSAGE);
      socket.onmessage = ({ data }) => {
        if (data === "rss") return socket.send(String(rss()));
        for (const each of all) each.send(text);
      };
    }
    return response;
  });
  return `ws://127.0.0.1:${server.addr.port}`;
}

function rss(): number {
  return Deno.memoryUsage().rss;
}

async function hub(codec: string): Promise<string> {
  const bay = await openWebSocket("far", { listen: { port: 0 }, codec, maxConnections: 4096 });
  await bay.serve("far/add", (value) => {
    const { args } = value as Message;
    return { sum: args.x + args.y };
  });
  await bay.serve("far/echo", (value) => value);
  await bay.serve("far/rss", () => rss());
  const speaker = await bay.speaker("far/tick");
  await bay.serve("far/tell", () => speaker.shout(MESSAGE));
  await bay.serve("far/listeners", () => speaker.listeners);
  return bay.transport(websocket).url;
}

/** Many clients in one process; says `heard` each time that all have heard one shout. */
async function crowd(url: string, clients: number, kind: string): Promise<void> {
  let heard = 0;
  const count = () => {
    if (++heard < clients) return;
    heard = 0;
    console.log(JSON.stringify("heard"));
  };
  for (let at = 0; at < clients; at += 50) {
    await Promise.all(
      Array.from({ length: Math.min(50, clients - at) }, async (_, n) => {
        if (kind === "bare") {
          const socket = new WebSocket(`${url}/all`);
          socket.onmessage = count;
          await new Promise((resolve) => socket.onopen = resolve);
          return;
        }
        const bay = await openWebSocket(`client${at + n}`, { url });
        await bay.listen("far/tick", count);
      }),
    );
  }
}

async function main([role, ...rest]: string[]): Promise<void> {
  let ready = "";
  if (role === "bare") ready = bare();
  else if (role === "hub") ready = await hub(rest[0]);
  else await crowd(rest[0], Number(rest[1]), rest[2]);
  console.log(JSON.stringify(ready));
  await Deno.stdin.read(new Uint8Array(1));
  Deno.exit(0);
}

if (import.meta.main) await main(Deno.args);
