/**
 * Calls on their way out: a service client for each name, one server asked for each call.
 *
 * @module
 */

import {
  type CallPort,
  type OutboundCall,
  PatchbayError,
  type TransportContext,
} from "@patchbay/core";
import { type Forms, NO_TYPE, NO_TYPE_REMEDY, type ServiceForm } from "./forms.ts";
import { type Metadata, readMetadata, writeMetadata } from "./metadata.ts";
import { type PendingRequest, type Reply, ServiceClient } from "./node/mod.ts";
import { qosOf } from "./ros_name.ts";
import type { RosNode } from "./ros_node.ts";
import type { EndpointData } from "./rtps/mod.ts";

/** How long what was written last may take to arrive before a client closes, in milliseconds. */
const FLUSH_MS = 1000;
/** An empty message: what a message to a server of ours carries that is no request. */
const EMPTY = Uint8Array.of(0, 1, 0, 0, 0);

/** One service, as clients of this bay see it. */
interface Desk {
  readonly name: string;
  readonly form: ServiceForm;
  readonly client: ServiceClient;
  readonly pending: Set<Pending>;
  turn: number;
}

/** One call under way. */
interface Pending {
  readonly call: OutboundCall;
  readonly desk: Desk;
  readonly request: PendingRequest;
}

/** What a caller of an address has found. */
interface Found {
  readonly native: unknown;
  readonly desk: Desk;
}

/** Everything this bay calls. */
export class Callers {
  readonly #context: TransportContext;
  readonly #node: RosNode;
  readonly #forms: Forms;
  readonly #desks = new Map<string, Desk>();

  constructor(context: TransportContext, node: RosNode, forms: Forms) {
    this.#context = context;
    this.#node = node;
    this.#forms = forms;
  }

  /**
   * As {@link Transport.caller}.
   *
   * @param address The address.
   */
  port(address: string): CallPort {
    let found: Found | undefined;
    const name = this.#context.name;
    return {
      start: (call) => {
        try {
          const native = call.native?.[name];
          if (found === undefined || found.native !== native) {
            found = { native, desk: this.#desk(address, native, call.codec) };
          }
          this.#start(found.desk, call);
        } catch (error) {
          call.fail(error);
        }
      },
      cancel: (call) => this.#cancel(call.slot as Pending | undefined),
      close: () => {},
    };
  }

  #desk(address: string, native: unknown, codec: string | undefined): Desk {
    const { naming } = this.#node;
    const said = naming.said(address, native);
    const name = naming.nameOf(address, said);
    const form = this.#forms.service(name, said, codec);
    if (form === undefined) {
      throw new PatchbayError("not_found", `${address}: ${NO_TYPE}`, { remedy: NO_TYPE_REMEDY });
    }
    const key = `${name} ${form.type.name} ${codec} ${JSON.stringify(said.qos)}`;
    const known = this.#desks.get(key);
    if (known !== undefined) return known;
    const client = new ServiceClient(this.#node, {
      name,
      requestType: form.type.request.ddsName,
      responseType: form.type.response.ddsName,
      userData: `typehash=${form.type.hash};`,
      qos: said.qos === undefined ? undefined : qosOf(said, "services_default"),
      onReport: (error) => this.#node.report(error),
      onMismatch: (other, policies) => {
        const own = other.kind === "reader" ? "writer" : "reader";
        this.#node.mismatched(address, "callable", own, other, policies);
      },
    });
    const desk: Desk = { name, form, client, pending: new Set(), turn: 0 };
    this.#desks.set(key, desk);
    return desk;
  }

  #start(desk: Desk, call: OutboundCall): void {
    const { client, form } = desk;
    const { servers } = client;
    if (servers.length === 0) return this.#nobody(desk, call);
    const server = servers[desk.turn = (desk.turn + 1) % servers.length];
    const payload = this.#forms.encode(form.type.request, form.request.say(call.value));
    const metadata = this.#node.isBay(server.guid) ? writeMetadata(metadataOf(call)) : undefined;
    call.statistics.bytesOut += payload.length;
    const request = client.ask(
      server,
      payload,
      metadata,
      (reply) => this.#reply(pending, reply),
      () => this.#gone(pending, server),
    );
    const pending: Pending = { call, desk, request };
    call.slot = pending;
    desk.pending.add(pending);
  }

  #nobody(desk: Desk, call: OutboundCall): void {
    // Whoever calls next looks anew.
    this.#context.routesChanged();
    call.fail(
      new PatchbayError("not_found", `${call.address}: nobody serves ${desk.name}`, {
        remedy: "start the node that serves it, in the same domain",
      }),
    );
  }

  #gone(pending: Pending, server: EndpointData): void {
    pending.desk.pending.delete(pending);
    const { call, desk } = pending;
    const { module } = this.#node.otherSide(server.guid);
    call.fail(
      new PatchbayError(
        "closed",
        `${call.address}: the server of ${desk.name}, ${module}, is gone`,
      ),
    );
  }

  #reply(pending: Pending, { payload, inline }: Reply): void {
    const { call, desk: { form, pending: all } } = pending;
    all.delete(pending);
    call.statistics.bytesIn += payload.length;
    try {
      const { e } = readMetadata(inline);
      if (e !== undefined) throw PatchbayError.fromWire(e, { address: call.address });
      const message = form.type.response.decode(payload, true);
      const error = form.response.hearError(message);
      if (error !== undefined) throw error;
      call.succeed(form.response.hear(message));
    } catch (error) {
      call.fail(error);
    }
  }

  #cancel(pending: Pending | undefined): void {
    if (pending === undefined) return;
    const { desk, request } = pending;
    if (!desk.pending.delete(pending) || !desk.client.forget(request)) return;
    // ROS 2 has no word for it: only another bay is told.
    if (!this.#node.isBay(request.server)) return;
    desk.client.tell(
      request.server,
      EMPTY,
      writeMetadata({ c: ServiceClient.numberOf(request) }),
    );
  }

  /** Ends what is under way. */
  async close(): Promise<void> {
    const desks = [...this.#desks.values()];
    for (const desk of desks) {
      for (const { call, request } of [...desk.pending]) {
        desk.client.forget(request);
        call.fail(
          new PatchbayError("closed", `${call.address}: the bay was closed`, { retryable: false }),
        );
      }
      desk.pending.clear();
    }
    await Promise.all(desks.map(({ client }) => client.settled(FLUSH_MS)));
    for (const { client } of desks) client.close();
    this.#desks.clear();
  }
}

/** What goes along with a call to another bay. */
function metadataOf({ remainingMs, priority, headers }: OutboundCall): Metadata {
  return {
    t: remainingMs === Infinity ? undefined : Math.ceil(remainingMs),
    p: priority === 128 ? undefined : priority,
    h: headers,
  };
}
