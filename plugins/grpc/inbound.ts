/**
 * What an answer to gRPC has in common whatever it answers: who calls, until when, how the call ends.
 *
 * @module
 */

import type { Metadata } from "npm:@grpc/grpc-js@1.14.7";
import type { Headers, Peer, TransportContext, Verb } from "@patchbay/core";
import { PatchbayError } from "@patchbay/core";
import type { Bodies } from "./bodies.ts";
import type { CallGate } from "./call_gate.ts";
import { readHeaders, readPriority, readSender } from "./metadata.ts";
import type { GrpcServer } from "./server.ts";

/** What answers share. */
export interface Desk {
  /** What core gave the plugin. */
  readonly context: TransportContext;
  /** How values are made. */
  readonly bodies: Bodies;
  /** The server. */
  readonly server: GrpcServer;
  /** How many calls run at once. */
  readonly gate: CallGate;
}

/** What grpc-js gives for every call. */
export interface Inbound {
  readonly metadata: Metadata;
  getPeer(): string;
  getDeadline(): Date | number;
}

/** Who calls. */
export function peerOf(call: Inbound, { server }: Pick<Desk, "server">): Peer {
  const { module } = readSender(call.metadata);
  const { local, identity } = server.visitorOf(call);
  return identity === undefined
    ? { module, transport: "grpc", local }
    : { module, transport: "grpc", identity, local };
}

/** What was sent along, once it is asked for. */
export function headersOf(call: Inbound): Headers {
  return readHeaders(call.metadata);
}

/** 0–255. */
export function priorityOf(call: Inbound): number {
  return readPriority(call.metadata);
}

/** How long the caller still waits, in milliseconds. */
export function remainingMs(call: Inbound): number {
  const deadline = Number(call.getDeadline());
  return Number.isFinite(deadline) ? Math.max(0, deadline - Date.now()) : Infinity;
}

/**
 * The error for a stream whose client has ended its side without a word: it waits for an answer.
 *
 * @param what What it ought to say first.
 */
export function nothingSaid(what: string): PatchbayError {
  return new PatchbayError("invalid", "the client has ended the stream without a message", {
    details: { notExecuted: true },
    remedy: `send ${what} first`,
  });
}

/** What was decided, by connection, verb and address: a verdict is asked for once. */
export class Verdicts {
  readonly #desk: Pick<Desk, "context" | "server">;

  /** @param desk What answers share. */
  constructor(desk: Pick<Desk, "context" | "server">) {
    this.#desk = desk;
  }

  /** Whether anybody has to be asked. */
  get asks(): boolean {
    return this.#desk.context.authorize !== undefined;
  }

  /**
   * Asks whether a caller may.
   *
   * @throws {PatchbayError} `forbidden`.
   */
  async check(call: Inbound, verb: Verb, address: string): Promise<void> {
    const { authorize } = this.#desk.context;
    if (authorize === undefined) return;
    const peer = peerOf(call, this.#desk);
    const { verdicts } = this.#desk.server.visitorOf(call);
    const key = JSON.stringify([peer.module, peer.identity, verb, address]);
    let verdict = verdicts.get(key);
    if (verdict === undefined) {
      if (verdicts.size >= MAX_VERDICTS) verdicts.delete(verdicts.keys().next().value ?? "");
      verdict = (async () => await authorize(peer, verb, address))();
      verdicts.set(key, verdict);
      verdict.catch(() => verdicts.delete(key));
    }
    let may = false;
    try {
      may = await verdict;
    } catch (cause) {
      throw new PatchbayError("forbidden", `${address}: authorize threw`, { address, cause });
    }
    if (!may) {
      throw new PatchbayError("forbidden", `${address}: this peer may not ${verb} it`, { address });
    }
  }
}

/** How many verdicts are remembered of one connection. */
const MAX_VERDICTS = 4096;
