/**
 * Jobs on their way in: an action server for each job that this bay performs.
 *
 * @module
 */

import {
  type JobEndpoint,
  PatchbayError,
  type Registration,
  type TransportContext,
} from "@patchbay/core";
import type { Doorman } from "./doorman.ts";
import { type ActionForm, type Forms } from "./forms.ts";
import { readMetadata, writeMetadata } from "./metadata.ts";
import {
  type ActionParts,
  actionParts,
  type Answer,
  CancelCode,
  type GoalInfo,
  GoalStatus,
  idOf,
  type Request,
  ServiceServer,
  stampNow,
  type Uuid,
  uuidOf,
} from "./node/mod.ts";
import { type Claims, noteOf } from "./offers.ts";
import { QOS_PROFILES } from "./node/mod.ts";
import { qosOf } from "./ros_name.ts";
import type { RosNode } from "./ros_node.ts";
import type { Writer } from "./rtps/mod.ts";
import { NOWHERE } from "./servers.ts";
import { isBefore, PerformedGoal, type Performing } from "./performed_goal.ts";

/** How long the last answers may take to arrive before an action closes, in milliseconds. */
const FLUSH_MS = 1000;
/** How many goals that have ended are kept, so that late questions find their results. */
const MAX_ENDED = 256;
/** How many ids are kept whose owner gave up before the goal came. */
const MAX_REFUSED = 256;
/**
 * How long feedback waits for its owner to have the answer and a reader that is known, and a result
 * for feedback on its way, in milliseconds.
 */
const OWNER_MS = 1000;
/** How much feedback is kept for owners that are behind. */
const FEEDBACK_DEPTH = 4096;

/** Everything this bay performs. */
export class Workers {
  readonly #context: TransportContext;
  readonly #node: RosNode;
  readonly #forms: Forms;
  readonly #claims: Claims;
  readonly #doorman: Doorman;

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
   * As {@link Transport.perform}.
   *
   * @param endpoint What is performed.
   * @throws {PatchbayError} `unavailable`: somebody else does; `invalid`: its name or type.
   */
  async perform(endpoint: JobEndpoint): Promise<Registration> {
    await this.#node.met();
    const { address, contract } = endpoint;
    const { naming } = this.#node;
    const said = naming.said(address, contract.native?.[this.#context.name]);
    const name = naming.nameOf(address, said);
    const form = this.#forms.action(name, said, contract.codec);
    if (form === undefined) {
      endpoint.statistics.countDrop("no_ros_type");
      return NOWHERE;
    }
    const services = said.qos === undefined ? undefined : qosOf(said, "services_default");
    const make = () =>
      new PerformedAction(this.#node, this.#forms, this.#doorman, endpoint, name, form, services);
    const action = await this.#claims.claim("job", name, endpoint, make);
    let closing: Promise<void> | undefined;
    return { close: () => closing ??= action.end() };
  }
}

/** One action. */
class PerformedAction implements Performing {
  readonly #node: RosNode;
  readonly #forms: Forms;
  readonly #doorman: Doorman;
  readonly #parts: ActionParts;
  readonly #services: readonly ServiceServer[];
  readonly #feedback: Writer;
  readonly #status: Writer;
  readonly #goals = new Map<string, PerformedGoal>();
  readonly #refused = new Set<string>();
  readonly #unwatch: () => void;
  #telling = false;
  #closed = false;
  readonly endpoint: JobEndpoint;
  readonly form: ActionForm;

  constructor(
    node: RosNode,
    forms: Forms,
    doorman: Doorman,
    endpoint: JobEndpoint,
    name: string,
    form: ActionForm,
    qos: ConstructorParameters<typeof ServiceServer>[1]["qos"],
  ) {
    this.#node = node;
    this.#forms = forms;
    this.#doorman = doorman;
    this.endpoint = endpoint;
    this.form = form;
    const { address, statistics } = endpoint;
    const { type } = form;
    const onReport = (error: unknown) => node.report(error);
    const parts = this.#parts = actionParts({ name, type, types: node.types, onReport });
    const mismatch = (own: "writer" | "reader") =>
    (
      other: Parameters<RosNode["mismatched"]>[3],
      policies: Parameters<RosNode["mismatched"]>[4],
    ) => node.mismatched(address, "job", own, other, policies);
    this.#feedback = node.createWriter({
      topic: parts.feedbackTopic,
      type: type.feedbackMessage.ddsName,
      qos: { ...QOS_PROFILES.default, depth: FEEDBACK_DEPTH },
      userData: new TextEncoder().encode(`typehash=${type.feedbackMessage.hash};`),
      onMismatch: mismatch("writer"),
      onOverwritten: (samples) => statistics.countDrop("overflow_oldest", samples),
    });
    this.#status = node.createWriter({
      topic: parts.statusTopic,
      type: parts.statusType.ddsName,
      qos: QOS_PROFILES.action_status,
      userData: new TextEncoder().encode(`typehash=${parts.statusType.hash};`),
      onMismatch: mismatch("writer"),
    });
    const note = noteOf("job", endpoint);
    const both = (service: ActionParts["sendGoal"]) => ({
      ...service,
      qos,
      onMismatch: (
        other: Parameters<RosNode["mismatched"]>[3],
        policies: Parameters<RosNode["mismatched"]>[4],
      ) => mismatch(other.kind === "reader" ? "writer" : "reader")(other, policies),
    });
    // Goals come last, because a goal needs all the others.
    this.#services = [
      new ServiceServer(node, both(parts.getResult), (p, request) => this.#getResult(p, request)),
      new ServiceServer(node, both(parts.cancelGoal), (p, request) => this.#cancel(p, request)),
      new ServiceServer(
        node,
        both({ ...parts.sendGoal, userData: `${parts.sendGoal.userData}${note}` }),
        (payload, request) => this.#sendGoal(payload, request),
      ),
    ];
    this.#unwatch = node.watchLost((prefix) => {
      for (const goal of this.#goals.values()) goal.lost(prefix);
    });
    this.publish();
  }

  /** The reader of goals. */
  get guid(): string {
    return this.#services[2].guid;
  }

  /** As {@link Performing}: once for all that changes in one turn. */
  publish(): void {
    if (this.#telling) return;
    this.#telling = true;
    queueMicrotask(() => {
      this.#telling = false;
      if (!this.#closed) this.#tellStates();
    });
  }

  #tellStates(): void {
    this.#status.write(this.#parts.statusType.encode({
      status_list: Array.from(this.#goals.values(), ({ id, stamp, status }) => ({
        goal_info: { goal_id: uuidOf(id), stamp },
        status,
      })),
    }));
  }

  /** As {@link Performing}. */
  tell(id: string, value: unknown, sequence: number, isBay: boolean): void {
    if (this.#closed) return;
    const { type, feedback } = this.form;
    const message = { goal_id: uuidOf(id), feedback: feedback.say(value) };
    const payload = this.#forms.encode(type.feedbackMessage, message);
    this.endpoint.statistics.bytesOut += payload.length;
    this.#feedback.write(
      payload,
      isBay ? { inline: writeMetadata({ n: sequence }) } : undefined,
    );
  }

  /** As {@link Performing}. */
  tellProgress(id: string, fraction: number, sequence: number, owner: string): void {
    // ROS 2 has no word for it: only another bay is told.
    if (this.#closed || !this.#node.isBay(owner)) return;
    this.#feedback.write(this.form.type.feedbackMessage.encode({ goal_id: uuidOf(id) }), {
      only: owner.slice(0, 24),
      inline: writeMetadata({ n: sequence, g: fraction }),
    });
  }

  /** As {@link Performing}. */
  answerOf(
    status: number,
    message: unknown,
    metadata: Parameters<typeof writeMetadata>[0],
  ): Answer {
    const { response } = this.form.type.getResult;
    const payload = this.#forms.encode(response, { status, result: message });
    this.endpoint.statistics.bytesOut += payload.length;
    return { payload, parameters: writeMetadata(metadata) };
  }

  /** As {@link Performing}. */
  ended(): void {
    const ended = [...this.#goals.values()].filter((goal) => goal.ended);
    for (const { id } of ended.slice(0, -MAX_ENDED)) this.#goals.delete(id);
  }

  async #sendGoal(payload: Uint8Array, { writer, inline }: Request): Promise<Answer> {
    const { endpoint, form: { type, goal: wording } } = this;
    const { guid } = writer;
    const isBay = this.#node.isBay(guid);
    const stamp = stampNow();
    const { request, response } = type.sendGoal;
    const refuse = (error: PatchbayError): Answer => ({
      payload: response.encode({ accepted: false, stamp }),
      parameters: isBay ? writeMetadata({ e: error.toWire() }) : undefined,
    });
    endpoint.statistics.bytesIn += payload.length;
    let id: string;
    let value: unknown;
    try {
      const message = request.decode(payload, true) as { goal_id: Uuid; goal: unknown };
      id = idOf(message.goal_id);
      value = wording.hear(message.goal);
    } catch (error) {
      endpoint.statistics.countDrop("undecodable");
      return refuse(PatchbayError.fromThrown(error));
    }
    const { address } = endpoint;
    if (this.#refused.delete(id)) {
      return refuse(new PatchbayError("closed", `${address}: the owner has given up already`));
    }
    // An id that is known is no new goal.
    if (this.#goals.has(id)) {
      return refuse(new PatchbayError("invalid", `${address}: there is a goal ${id} already`));
    }
    const peer = this.#node.otherSide(guid);
    const goal = new PerformedGoal(this, id, stamp, guid, isBay);
    this.#goals.set(id, goal);
    const verdict = this.#doorman.ask(peer, "execute", address);
    if (!(verdict === true || await verdict)) {
      goal.fail(this.#doorman.refusal(peer, "execute", address));
    } else {
      const { h = {}, p: priority } = readMetadata(inline);
      goal.run = endpoint.start(id, value, { headers: h, peer, priority }, goal);
    }
    try {
      await goal.decided;
    } catch (error) {
      this.#goals.delete(id);
      this.publish();
      return refuse(PatchbayError.fromThrown(error));
    }
    const sent = () => {
      // Written is not there yet: the client may not know the writer of answers by now.
      const arrived = isBay
        ? undefined
        : this.#services[2].settledWith(guid.slice(0, 24), OWNER_MS);
      void Promise.all([arrived, this.#isHeardBy(guid)]).then(() => goal.told());
    };
    return { payload: response.encode({ accepted: true, stamp }), sent };
  }

  /** What is written before its reader is known is lost: that is another announcement. */
  #isHeardBy(guid: string): Promise<boolean> {
    return this.#feedback.untilMatchedBy(guid.slice(0, 24), OWNER_MS);
  }

  async #getResult(payload: Uint8Array, { writer }: Request): Promise<Answer> {
    const { form: { type, result }, endpoint } = this;
    const { goal_id } = type.getResult.request.decode(payload, true) as { goal_id: Uuid };
    const goal = this.#goals.get(idOf(goal_id));
    if (goal !== undefined) {
      // Who asks for the result knows that the goal is accepted.
      await this.#isHeardBy(writer.guid);
      goal.told();
      const { payload, parameters } = await goal.outcome;
      if (this.#node.isBay(writer.guid)) return { payload, parameters };
      // Another bay knows from the result's number what is still to come; others do not.
      await this.#feedback.untilAcknowledged(OWNER_MS, writer.guid.slice(0, 24));
      return { payload };
    }
    const error = new PatchbayError("closed", `${endpoint.address}: the worker has lost the job`, {
      remedy: "the worker was restarted, or the job ended too long ago; execute it again",
      retryable: false,
    });
    const { unknown } = GoalStatus;
    return this.answerOf(unknown, result.sayError(error) ?? {}, { e: error.toWire() });
  }

  #cancel(payload: Uint8Array, { inline }: Request): Answer {
    const { request, response } = this.#parts.cancelType;
    const { goal_info } = request.decode(payload, true) as { goal_info: GoalInfo };
    const id = idOf(goal_info.goal_id);
    const { r, a } = readMetadata(inline);
    const named = !/^0+$/.test(id);
    const { sec, nanosec } = goal_info.stamp;
    const since = sec !== 0 || nanosec !== 0;
    // As in action_msgs/srv/CancelGoal: by id, by time, or all.
    const meant = [...this.#goals.values()].filter((goal) =>
      named && goal.id === id || since && isBefore(goal.stamp, goal_info.stamp) || !named && !since
    );
    if (a === 1 && named && meant.length === 0) this.#refuseLater(id);
    const running = meant.filter((goal) => !goal.ended);
    for (const goal of running) {
      goal.cancel(a === 1 ? "the job's owner has given up" : r);
    }
    if (running.length > 0) this.publish();
    const code = running.length > 0 || !named
      ? CancelCode.none
      : meant.length > 0
      ? CancelCode.terminated
      : CancelCode.unknownGoal;
    const goals_canceling = running.map(({ id, stamp }) => ({ goal_id: uuidOf(id), stamp }));
    return { payload: response.encode({ return_code: code, goals_canceling }) };
  }

  #refuseLater(id: string): void {
    this.#refused.add(id);
    if (this.#refused.size <= MAX_REFUSED) return;
    for (const oldest of this.#refused) {
      this.#refused.delete(oldest);
      break;
    }
  }

  /** Takes it off the wire, when the last answers have arrived; what runs has ended by then. */
  async end(): Promise<void> {
    // The answers are written when the promises behind them have settled.
    await new Promise<void>((resolve) => setTimeout(resolve, 0));
    await Promise.all([
      ...this.#services.map((service) => service.settled(FLUSH_MS)),
      this.#feedback.untilAcknowledged(FLUSH_MS),
    ]);
    this.close();
    await this.#node.heard();
  }

  /** Takes it off the wire at once. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#unwatch();
    for (const service of [...this.#services].reverse()) service.close();
    this.#feedback.close();
    this.#status.close();
  }
}
