/**
 * Jobs on their way out: an action client for each name, and the goals that this bay owns.
 *
 * @module
 */

import {
  type JobPort,
  type OutboundJob,
  PatchbayError,
  TimerEntry,
  type TransportContext,
} from "@patchbay/core";
import { type ActionForm, type Forms, NO_TYPE, NO_TYPE_REMEDY } from "./forms.ts";
import { readMetadata, writeMetadata } from "./metadata.ts";
import {
  type ActionParts,
  actionParts,
  GoalStatus,
  idOf,
  type PendingRequest,
  QOS_PROFILES,
  type Reply,
  ServiceClient,
  uuidOf,
} from "./node/mod.ts";
import { qosOf } from "./ros_name.ts";
import type { RosNode } from "./ros_node.ts";
import type { EndpointData, Reader, Sample } from "./rtps/mod.ts";

/** How long what was written last may take to arrive before a client closes, in milliseconds. */
const FLUSH_MS = 1000;
/** How long feedback that the result has overtaken is waited for, in milliseconds. */
const CATCH_UP_MS = 1000;

/** Everything this bay owns. */
export class Owners {
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
   * As {@link Transport.executor}.
   *
   * @param address The address.
   */
  port(address: string): JobPort {
    return {
      start: (job) => {
        try {
          const desk = this.#desk(address, job.native?.[this.#context.name], job.codec);
          const owned = new OwnedJob(this.#context, this.#node, this.#forms, desk, job);
          job.slot = owned;
          owned.begin();
        } catch (error) {
          job.fail(error);
        }
      },
      cancel: (job, reason) => (job.slot as OwnedJob | undefined)?.cancel(reason),
      abandon: (job) => (job.slot as OwnedJob | undefined)?.abandon(),
      close: () => {},
    };
  }

  #desk(address: string, native: unknown, codec: string | undefined): Desk {
    const { naming } = this.#node;
    const said = naming.said(address, native);
    const name = naming.nameOf(address, said);
    const form = this.#forms.action(name, said, codec);
    if (form === undefined) {
      throw new PatchbayError("not_found", `${address}: ${NO_TYPE}`, { remedy: NO_TYPE_REMEDY });
    }
    const key = `${name} ${form.type.name} ${codec} ${JSON.stringify(said.qos)}`;
    let desk = this.#desks.get(key);
    if (desk === undefined) {
      const qos = said.qos === undefined ? undefined : qosOf(said, "services_default");
      this.#desks.set(key, desk = new Desk(this.#node, address, name, form, qos));
    }
    return desk;
  }

  /** Ends what is under way. */
  async close(): Promise<void> {
    const desks = [...this.#desks.values()];
    for (const desk of desks) {
      for (const job of [...desk.jobs.values()]) {
        job.fail(new PatchbayError("closed", `${desk.address}: the bay was closed`));
      }
    }
    await Promise.all(desks.map((desk) => desk.close()));
    this.#desks.clear();
  }
}

/** The jobs of one action. */
class Desk {
  readonly address: string;
  readonly name: string;
  readonly form: ActionForm;
  readonly parts: ActionParts;
  readonly jobs = new Map<string, OwnedJob>();
  readonly sendGoal: ServiceClient;
  readonly getResult: ServiceClient;
  readonly cancelGoal: ServiceClient;
  readonly #feedback: Reader;
  /** Called when servers come or go. */
  readonly changed = new Set<() => void>();
  turn = 0;

  constructor(
    node: RosNode,
    address: string,
    name: string,
    form: ActionForm,
    qos: ConstructorParameters<typeof ServiceClient>[1]["qos"],
  ) {
    this.address = address;
    this.name = name;
    this.form = form;
    const { type } = form;
    const onReport = (error: unknown) => node.report(error);
    const onMismatch: ConstructorParameters<typeof ServiceClient>[1]["onMismatch"] = (
      other,
      policies,
    ) => {
      const own = other.kind === "reader" ? "writer" : "reader";
      node.mismatched(address, "job", own, other, policies);
    };
    const onServers = () => {
      for (const look of [...this.changed]) look();
    };
    const parts = this.parts = actionParts({ name, type, types: node.types, onReport });
    this.#feedback = node.createReader({
      topic: parts.feedbackTopic,
      type: type.feedbackMessage.ddsName,
      qos: QOS_PROFILES.default,
      userData: new TextEncoder().encode(`typehash=${type.feedbackMessage.hash};`),
      onSample: (sample) => this.#heard(sample),
      onMismatch,
    });
    this.getResult = new ServiceClient(node, { ...parts.getResult, qos, onMismatch, onServers });
    this.cancelGoal = new ServiceClient(node, { ...parts.cancelGoal, qos, onMismatch, onServers });
    this.sendGoal = new ServiceClient(node, { ...parts.sendGoal, qos, onMismatch, onServers });
  }

  #heard(sample: Sample): void {
    if (sample.state !== "alive") return;
    const { payload, inline, writer } = sample;
    // The goal's id stands in front: feedback of all owners comes by here.
    const id = idOf({ uuid: payload.subarray(4, 20) });
    const job = this.jobs.get(id);
    // Ids are told to everybody: only who has the goal speaks of it.
    if (job?.isWith(writer.guid)) job.heard(payload, readMetadata(inline));
  }

  async close(): Promise<void> {
    const clients = [this.sendGoal, this.getResult, this.cancelGoal];
    await Promise.all(clients.map((client) => client.settled(FLUSH_MS)));
    for (const client of clients) client.close();
    this.#feedback.close();
  }
}

/** What the result said. */
interface Outcome {
  readonly status: number;
  readonly value: unknown;
  readonly error: PatchbayError | undefined;
}

/** One job, from its goal to its end. */
class OwnedJob extends TimerEntry {
  readonly #context: TransportContext;
  readonly #node: RosNode;
  readonly #forms: Forms;
  readonly #desk: Desk;
  readonly #job: OutboundJob;
  #server = "";
  #request: PendingRequest | undefined;
  #asking: (() => void) | undefined;
  #held: Outcome | undefined;
  /** The number of the last feedback, as the result says. */
  #last = 0;
  #over = false;

  constructor(
    context: TransportContext,
    node: RosNode,
    forms: Forms,
    desk: Desk,
    job: OutboundJob,
  ) {
    super();
    this.#context = context;
    this.#node = node;
    this.#forms = forms;
    this.#desk = desk;
    this.#job = job;
  }

  get #isBay(): boolean {
    return this.#node.isBay(this.#server);
  }

  /** Sends the goal. */
  begin(): void {
    const { sendGoal, form: { type, goal }, name } = this.#desk;
    const job = this.#job;
    const { servers } = sendGoal;
    if (servers.length === 0) {
      this.#context.routesChanged();
      throw new PatchbayError("not_found", `${job.address}: nobody performs ${name}`, {
        remedy: "start the node that performs it, in the same domain",
      });
    }
    const server = servers[this.#desk.turn = (this.#desk.turn + 1) % servers.length];
    this.#server = server.guid;
    const payload = this.#forms.encode(type.sendGoal.request, {
      goal_id: uuidOf(job.id),
      goal: goal.say(job.goal),
    });
    const { priority, headers } = job;
    const metadata = this.#isBay
      ? writeMetadata({ p: priority === 128 ? undefined : priority, h: headers })
      : undefined;
    job.statistics.bytesOut += payload.length;
    this.#desk.jobs.set(job.id, this);
    this.#ask(sendGoal, server, payload, metadata, (reply) => this.#decided(reply));
  }

  #ask(
    client: ServiceClient,
    server: EndpointData,
    payload: Uint8Array,
    metadata: ReadonlyMap<number, Uint8Array> | undefined,
    reply: (reply: Reply) => void,
  ): void {
    this.#request = client.ask(server, payload, metadata, (answer) => {
      try {
        this.#job.statistics.bytesIn += answer.payload.length;
        reply(answer);
      } catch (error) {
        this.fail(PatchbayError.fromThrown(error));
      }
    }, () => {
      const { module } = this.#node.otherSide(server.guid);
      this.fail(
        new PatchbayError("closed", `${this.#job.address}: the worker, ${module}, is gone`, {
          retryable: false,
        }),
      );
    });
  }

  #decided({ payload, inline }: Reply): void {
    const { sendGoal: { response } } = this.#desk.form.type;
    const { accepted } = response.decode(payload, true) as { accepted: boolean };
    const { e } = readMetadata(inline);
    const { address } = this.#job;
    if (!accepted) {
      return this.fail(
        e !== undefined
          ? PatchbayError.fromWire(e, { address })
          : new PatchbayError("remote", `${address}: the goal was rejected`, {
            details: { rejected: true },
            remedy: "send a goal that the worker accepts",
          }),
      );
    }
    // Its owner has given up meanwhile, when nobody knew the goal yet.
    if (this.#over) return this.#tell(undefined, true);
    this.#job.accepted();
    this.#askResult();
  }

  /** Asks for the result, as soon as the server's end of that is known. */
  #askResult(): void {
    const { getResult, changed, form: { type } } = this.#desk;
    const payload = type.getResult.request.encode({ goal_id: uuidOf(this.#job.id) });
    const look = () => {
      const server = this.#of(getResult);
      if (server === undefined) return;
      this.#stopAsking();
      this.#ask(getResult, server, payload, undefined, (reply) => this.#result(reply));
    };
    this.#asking = look;
    changed.add(look);
    look();
  }

  #stopAsking(): void {
    if (this.#asking !== undefined) this.#desk.changed.delete(this.#asking);
    this.#asking = undefined;
  }

  /** The server that has the goal, as another service's. */
  #of(client: ServiceClient): EndpointData | undefined {
    const prefix = this.#server.slice(0, 24);
    return client.servers.find(({ guid }) => guid.startsWith(prefix));
  }

  /** Whether the participant of an endpoint has the goal. */
  isWith(guid: string): boolean {
    return this.#server.slice(0, 24) === guid.slice(0, 24);
  }

  /** Feedback, or how far it is. */
  heard(payload: Uint8Array, { n, g }: ReturnType<typeof readMetadata>): void {
    const job = this.#job;
    const { form: { type, feedback } } = this.#desk;
    job.statistics.bytesIn += payload.length;
    // It says that the goal is accepted, and may overtake the answer.
    if (!job.isAccepted) job.accepted();
    const sequence = n ?? job.lastSequence + 1;
    if (g !== undefined) job.progressed(Math.min(1, g), sequence);
    else {
      try {
        const message = type.feedbackMessage.decode(payload) as { feedback: unknown };
        job.feedback(feedback.hear(message.feedback), sequence);
      } catch {
        job.statistics.countDrop("undecodable");
      }
    }
    if (this.#held !== undefined && job.lastSequence >= this.#last) this.#finish();
  }

  #result({ payload, inline }: Reply): void {
    const { form: { type, result } } = this.#desk;
    const { status, result: message } = type.getResult.response.decode(payload, true) as {
      status: number;
      result: unknown;
    };
    const { e, l = 0 } = readMetadata(inline);
    const { address } = this.#job;
    let error = e === undefined
      ? result.hearError(message)
      : PatchbayError.fromWire(e, { address });
    let value: unknown;
    if (error === undefined) value = result.hear(message);
    if (error === undefined && status !== GoalStatus.succeeded && !this.#isBay) {
      const word = status === GoalStatus.canceled
        ? "canceled"
        : status === GoalStatus.aborted
        ? "aborted"
        : "lost by its server";
      error = new PatchbayError("remote", `${address}: the goal was ${word}`, {
        details: { status, result: value as Record<string, unknown> },
      });
    }
    this.#held = { status, value, error };
    this.#last = l;
    if (this.#job.lastSequence >= l) return this.#finish();
    // The result has overtaken feedback, which is another topic.
    this.#context.timers.arm(this, CATCH_UP_MS);
  }

  /** What is missing now is missing for good. */
  override expire(): void {
    const missing = this.#last - this.#job.lastSequence;
    if (missing > 0) this.#job.statistics.countDrop("feedback_gap", missing);
    this.#finish();
  }

  #finish(): void {
    const { value, error } = this.#held as Outcome;
    if (error !== undefined) this.fail(error);
    else if (this.#end()) this.#job.succeed(value);
  }

  /** Asks the worker to stop. */
  cancel(reason: string | undefined): void {
    if (!this.#over) this.#tell(reason, false);
  }

  /** The owner no longer waits. */
  abandon(): void {
    const request = this.#request;
    if (!this.#end()) return;
    if (request !== undefined) this.#desk.getResult.forget(request);
    this.#tell(undefined, true);
  }

  #tell(reason: string | undefined, abandon: boolean): void {
    const { cancelGoal, parts: { cancelType } } = this.#desk;
    const server = this.#of(cancelGoal);
    if (server === undefined) return;
    const payload = cancelType.request.encode({ goal_info: { goal_id: uuidOf(this.#job.id) } });
    const metadata = this.#isBay
      ? writeMetadata({ r: reason?.slice(0, 4096), a: abandon ? 1 : undefined })
      : undefined;
    // What becomes of it, the result says.
    cancelGoal.ask(server, payload, metadata, () => {}, () => {});
  }

  /** It has ended with an error. */
  fail(error: PatchbayError): void {
    if (this.#end()) this.#job.fail(error);
  }

  #end(): boolean {
    if (this.#over) return false;
    this.#over = true;
    this.#context.timers.disarm(this);
    this.#stopAsking();
    this.#desk.jobs.delete(this.#job.id);
    return true;
  }
}
