/**
 * Calls on their way in: a service server for each callable that this bay serves.
 *
 * @module
 */

import {
  type CallableEndpoint,
  PatchbayError,
  type Registration,
  type TransportContext,
} from "@patchbay/core";
import type { Doorman } from "./doorman.ts";
import type { Forms, ServiceForm } from "./forms.ts";
import { InboundCall } from "./inbound_call.ts";
import { readMetadata, writeMetadata } from "./metadata.ts";
import { type Answer, type Request, ServiceServer } from "./node/mod.ts";
import { type Claims, noteOf } from "./offers.ts";
import { qosOf } from "./ros_name.ts";
import type { RosNode } from "./ros_node.ts";

/** How long replies may take to arrive before a server closes, in milliseconds. */
const FLUSH_MS = 1000;

/** What is not on this wire. */
export const NOWHERE: Registration = { close: () => Promise.resolve() };

/** Everything this bay serves. */
export class Servers {
  readonly #context: TransportContext;
  readonly #node: RosNode;
  readonly #forms: Forms;
  readonly #claims: Claims;
  readonly #doorman: Doorman;
  readonly #running = new Map<string, InboundCall>();

  constructor(
    context: TransportContext,
    node: RosNode,
    forms: Forms,
    claims: Claims,
    doorman: Doorman,
  ) {
    this.#context = context;
    this.#node = node;
    this.#forms = forms;
    this.#claims = claims;
    this.#doorman = doorman;
  }

  /**
   * As {@link Transport.serve}.
   *
   * @param endpoint What is served.
   * @throws {PatchbayError} `unavailable`: somebody else serves it; `invalid`: its name or type.
   */
  async serve(endpoint: CallableEndpoint): Promise<Registration> {
    await this.#node.met();
    const { address, contract } = endpoint;
    const { naming } = this.#node;
    const said = naming.said(address, contract.native?.[this.#context.name]);
    const name = naming.nameOf(address, said);
    const form = this.#forms.service(name, said, contract.codec);
    if (form === undefined) {
      endpoint.statistics.countDrop("no_ros_type");
      return NOWHERE;
    }
    const make = () =>
      new ServiceServer(this.#node, {
        name,
        requestType: form.type.request.ddsName,
        responseType: form.type.response.ddsName,
        userData: `typehash=${form.type.hash};${noteOf("callable", endpoint)}`,
        qos: said.qos === undefined ? undefined : qosOf(said, "services_default"),
        onReport: (error) => this.#node.report(error),
        onMismatch: (other, policies) => {
          const own = other.kind === "reader" ? "writer" : "reader";
          this.#node.mismatched(address, "callable", own, other, policies);
        },
      }, (payload, request) => this.#handle(endpoint, form, payload, request));
    const server = await this.#claims.claim("callable", name, endpoint, make);
    let closing: Promise<void> | undefined;
    return {
      close: () =>
        closing ??= (async () => {
          // What was answered last arrives before the server is gone.
          await server.settled(FLUSH_MS);
          server.close();
          await this.#node.heard();
        })(),
    };
  }

  #handle(
    endpoint: CallableEndpoint,
    form: ServiceForm,
    payload: Uint8Array,
    { writer, number, inline }: Request,
  ): Promise<Answer | undefined> | Answer | undefined {
    const { statistics, address } = endpoint;
    const metadata = readMetadata(inline);
    const caller = (of: string) => `${writer.guid} ${of}`;
    if (metadata.c !== undefined) {
      const running = this.#running.get(caller(metadata.c));
      if (running !== undefined) {
        this.#running.delete(caller(metadata.c));
        running.abort();
        endpoint.abandon(running);
      }
      return undefined;
    }
    statistics.bytesIn += payload.length;
    const isBay = this.#node.isBay(writer.guid);
    let outcome: Answer | undefined;
    let settle: ((answer: Answer | undefined) => void) | undefined;
    let settled = false;
    const call = new InboundCall(
      address,
      this.#node.otherSide(writer.guid),
      metadata,
      (value, error) => {
        this.#running.delete(caller(number));
        settled = true;
        outcome = this.#answer(endpoint, form, value, error, isBay);
        settle?.(outcome);
      },
    );
    let value: unknown;
    try {
      value = form.request.hear(form.type.request.decode(payload, true));
    } catch (error) {
      const known = PatchbayError.fromThrown(error);
      statistics.countDrop(known.code === "too_large" ? "too_large" : "undecodable");
      call.fail(known);
      return outcome;
    }
    this.#running.set(caller(number), call);
    const verdict = this.#doorman.ask(call.peer, "call", address);
    if (verdict === true) endpoint.handle(value, call, call);
    else if (verdict === false) call.fail(this.#doorman.refusal(call.peer, "call", address));
    else {
      verdict.then((allowed) => {
        if (allowed) endpoint.handle(value, call, call);
        else call.fail(this.#doorman.refusal(call.peer, "call", address));
      });
    }
    if (settled) return outcome;
    return new Promise((resolve) => settle = resolve);
  }

  /** The reply; `undefined` where the type has no word for what went wrong. */
  #answer(
    { address, statistics, contract: _ }: CallableEndpoint,
    { type, response }: ServiceForm,
    value: unknown,
    error: PatchbayError | undefined,
    isBay: boolean,
  ): Answer | undefined {
    if (error === undefined) {
      try {
        const payload = this.#forms.encode(type.response, response.say(value));
        statistics.bytesOut += payload.length;
        return { payload };
      } catch (thrown) {
        error = PatchbayError.fromThrown(thrown);
        statistics.countError(error.code);
      }
    }
    const said = response.sayError(error);
    if (isBay) {
      const payload = type.response.encode(said ?? {});
      return { payload, parameters: writeMetadata({ e: error.toWire() }) };
    }
    if (said !== undefined) return { payload: type.response.encode(said) };
    statistics.countDrop("no_reply");
    this.#node.report(
      new PatchbayError(error.code, `${address}: the caller gets no reply: ${error.message}`, {
        pattern: "callable",
        address,
        cause: error,
        remedy: `${type.name} has no fields success and message to say what went wrong`,
      }),
    );
    return undefined;
  }

  /** A participant has gone: its calls are given up. */
  lost(writer: string): void {
    for (const [caller, call] of [...this.#running]) {
      if (!caller.startsWith(writer)) continue;
      this.#running.delete(caller);
      call.abort();
    }
  }
}
