/**
 * What the clients of the guarded listener leave unread: how many requests are open on one
 * connection, and how long an answer waits for its reader. Who goes too far loses the connection.
 *
 * @module
 */

import type { ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { PatchbayError } from "@patchbay/core";
import { LARGE_BYTES } from "./bodies.ts";

/** How many requests may be open on one connection: what a client may send ahead of the answers. */
export const MAX_PIPELINED = 64;

/**
 * How slowly what has been handed over at once may be read, in bytes a second: its time is the
 * longer by that, for until all of it has gone there is no telling how much has.
 */
const SLOWEST_READER = 64 * 1024;

/** What is handed over at once of a large answer, in bytes. */
const PIECE_BYTES = 64 * 1024;

/** How often connections are looked at, in milliseconds, at least and at most. */
const LOOK_MS = [25, 5_000] as const;

/** One connection. */
interface Line {
  /** Requests whose answers have not gone. */
  open: number;
  /** Whether it has gone too far, and what still comes of it is nobody's. */
  cut: boolean;
  /** What had gone out when its time began. */
  sent: number;
  /** Until when more of it must have gone; 0: nothing waits. */
  untilMs: number;
}

/** What a watch tells. */
export interface UnreadEvents {
  /**
   * A connection was cut.
   *
   * @param status What its client would be told, if it read.
   * @param why Says why, for the owner.
   */
  cut(status: 408 | 429, why: (untold: number) => PatchbayError): void;
}

/** Watches connections. */
export class UnreadWatch {
  readonly #lines = new Map<Socket, Line>();
  readonly #answerTimeoutMs: number;
  readonly #events: UnreadEvents;
  readonly #timer: ReturnType<typeof setInterval>;

  /**
   * @param answerTimeoutMs How long nothing of an answer may be read.
   * @param events Who is told.
   */
  constructor(answerTimeoutMs: number, events: UnreadEvents) {
    this.#answerTimeoutMs = answerTimeoutMs;
    this.#events = events;
    const everyMs = Math.min(LOOK_MS[1], Math.max(LOOK_MS[0], answerTimeoutMs / 4));
    this.#timer = setInterval(() => this.#look(performance.now()), everyMs);
  }

  /**
   * A request has come; says whether it is to be answered.
   *
   * @param socket Its connection.
   * @param answer Its answer.
   */
  admits(socket: Socket, answer: ServerResponse): boolean {
    let line = this.#lines.get(socket);
    if (line === undefined) {
      line = { open: 0, cut: false, sent: 0, untilMs: 0 };
      this.#lines.set(socket, line);
      socket.once("close", () => this.#lines.delete(socket));
    }
    // What was read together with the request too many is parsed to its end.
    if (line.cut) return false;
    if (line.open >= MAX_PIPELINED) {
      this.#cut(socket, line, 429, (untold) => tooMany(socket, untold));
      return false;
    }
    line.open++;
    const entered = line;
    answer.once("close", () => entered.open--);
    return true;
  }

  /** Watches no more. */
  close(): void {
    clearInterval(this.#timer);
  }

  #look(nowMs: number): void {
    for (const [socket, line] of this.#lines) {
      const waits = socket.writableLength;
      const sent = socket.bytesWritten - waits;
      if (waits === 0) line.untilMs = 0;
      else if (line.untilMs === 0 || sent !== line.sent) {
        line.sent = sent;
        line.untilMs = nowMs + this.#answerTimeoutMs + waits / SLOWEST_READER * 1000;
      } else if (nowMs >= line.untilMs && !line.cut) {
        this.#cut(socket, line, 408, (untold) => this.#unread(socket, waits, untold));
      }
    }
  }

  #cut(
    socket: Socket,
    line: Line,
    status: 408 | 429,
    why: (untold: number) => PatchbayError,
  ): void {
    line.cut = true;
    this.#events.cut(status, why);
    socket.destroy();
  }

  #unread(socket: Socket, bytes: number, untold: number): PatchbayError {
    const answerTimeoutMs = this.#answerTimeoutMs;
    return new PatchbayError(
      "deadline_exceeded",
      `${peerOf(socket)} has read nothing of its answer for ${answerTimeoutMs} ms; it was cut off`,
      {
        transport: "rest",
        details: { answerTimeoutMs, bytes, untold },
        remedy: "see what that client does, or raise config.rest.answerTimeoutMs",
      },
    );
  }
}

/**
 * Makes a large answer one that is handed over piece by piece, each when the one before has gone: so
 * it is seen whether it is read.
 *
 * @param answer The answer.
 */
export function inPieces(answer: Response): Response {
  const { headers, status } = answer;
  const length = headers.get("content-length");
  if (length === null || Number(length) <= LARGE_BYTES) return answer;
  // Looked at last: Deno makes a stream of it.
  const { body } = answer;
  if (body === null) return answer;
  const reader = body.getReader();
  let rest = new Uint8Array(0);
  const pieces = new ReadableStream<Uint8Array>({
    async pull(controller) {
      while (rest.length === 0) {
        const { value, done } = await reader.read();
        if (done) return controller.close();
        rest = value;
      }
      controller.enqueue(rest.subarray(0, PIECE_BYTES));
      rest = rest.subarray(PIECE_BYTES);
    },
    cancel: (reason) => reader.cancel(reason),
  }, { highWaterMark: 0 });
  return new Response(pieces, { status, headers });
}

function tooMany(socket: Socket, untold: number): PatchbayError {
  return new PatchbayError(
    "overloaded",
    `${peerOf(socket)} has sent more than ${MAX_PIPELINED} requests without waiting for an ` +
      "answer; it was cut off",
    {
      transport: "rest",
      details: { maxPipelined: MAX_PIPELINED, untold },
      remedy: "let that client wait for answers, or use several connections",
    },
  );
}

function peerOf({ remoteAddress, remotePort }: Socket): string {
  return remoteAddress === undefined ? "a client" : `${remoteAddress}:${remotePort}`;
}
