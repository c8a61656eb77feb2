/**
 * One job that this bay owns, from its goal to its end.
 *
 * @module
 */

import { type OutboundJob, PatchbayError, TimerEntry, type TransportContext } from "@patchbay/core";
import type { Forms } from "./forms.ts";
import { readMetadata, writeMetadata } from "./metadata.ts";
import {
  GoalStatus,
  type PendingRequest,
  type Reply,
  type ServiceClient,
  uuidOf,
} from "./node/mod.ts";
import type { Desk } from "./owners.ts";
import type { RosNode } from "./ros_node.ts";
import type { EndpointData } from "./rtps/mod.ts";

/** How long feedback that the result has overtaken is waited for, in milliseconds. */
const CATCH_UP_MS = 1000;

/** What the result said. */
interface Outcome {
  readonly status: number;
  readonly value: unknown;
  readonly error: PatchbayError | undefined;
}

/** One job, from its goal to its end. */
export class OwnedJob extends TimerEntry {
  readonly #context: TransportContext;
  readonly #node: RosNode;
  readonly #forms: Forms;
  readonly #desk: Desk;
  readonly #job: OutboundJob;
  #server = "";
  #request: PendingRequest | undefined;
  #asking: (() => void) | undefined;
  #held: Outcome | undefined;
  /** The number of the last feedback, as the result says; `Infinity` if it says none. */
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
    if (!this.#isBay) {
      // Results of others have no number: what their writer has sent is asked for instead.
      this.#last = Infinity;
      const participant = this.#server.slice(0, 24);
      void this.#desk.caughtUp(participant, CATCH_UP_MS).then(() => this.#finish());
      return;
    }
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
