/**
 * Jobs on their way out: an action client for each name.
 *
 * @module
 */

import { type JobPort, PatchbayError, type TransportContext } from "@patchbay/core";
import { type ActionForm, type Forms, NO_TYPE, NO_TYPE_REMEDY } from "./forms.ts";
import { readMetadata } from "./metadata.ts";
import { type ActionParts, actionParts, idOf, QOS_PROFILES, ServiceClient } from "./node/mod.ts";
import { OwnedJob } from "./owned_job.ts";
import { qosOf } from "./ros_name.ts";
import type { RosNode } from "./ros_node.ts";
import type { Reader, Sample } from "./rtps/mod.ts";

/** How long what was written last may take to arrive before a client closes, in milliseconds. */
const FLUSH_MS = 1000;

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
export class Desk {
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

  /**
   * Resolves when all feedback has come that a participant had given, as far as can be told.
   *
   * @param participant Its prefix.
   * @param timeoutMs How long to wait, in milliseconds.
   */
  async caughtUp(participant: string, timeoutMs: number): Promise<void> {
    await this.#feedback.untilComplete(timeoutMs, participant);
  }

  async close(): Promise<void> {
    const clients = [this.sendGoal, this.getResult, this.cancelGoal];
    await Promise.all(clients.map((client) => client.settled(FLUSH_MS)));
    for (const client of clients) client.close();
    this.#feedback.close();
  }
}
