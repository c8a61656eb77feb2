/**
 * What both sides of a service share: names and types, policies, what they tell of themselves.
 *
 * @module
 */

import { PatchbayError } from "@patchbay/core/errors";
import type { EndpointData, Participant, Qos } from "../rtps/mod.ts";
import { VENDOR_ID } from "../rtps/mod.ts";

/** What endpoints are made with: a participant, or a node that keeps account of them. */
export type EndpointMaker = Pick<Participant, "createWriter" | "createReader" | "participant">;

/** What both sides are made with. */
export interface ServiceOptions {
  /** The full name, such as `/add_two_ints`. */
  readonly name: string;
  /** The type of requests on the wire, such as `std_srvs::srv::dds_::SetBool_Request_`. */
  readonly requestType: string;
  /** The type of replies on the wire. */
  readonly responseType: string;
  /** Bytes that others are told of the endpoints, such as the hash of the type. */
  readonly userData?: string;
  /** The policies, where they are not those of services. */
  readonly qos?: Partial<Qos>;
  /** Told of what fails and stops nobody. */
  readonly onReport: (error: unknown) => void;
  /** Told of a policy by which another's endpoint does not fit. */
  readonly onMismatch?: Parameters<Participant["createReader"]>[0]["onMismatch"];
}

/**
 * ROS 2's services profile, but that nothing is pushed out: which of the last ten is no concern of
 * readers, and a reply that is pushed out is a call that never ends.
 */
export const SERVICE_QOS: Partial<Qos> = { reliability: "reliable", history: "keep_all" };

/**
 * For so long a reader that takes nothing may hold back what is written to others, in milliseconds:
 * longer than any healthy one is busy.
 */
export const STALL_MS = 5000;

/** Text as bytes. */
export const encode = (text: string | undefined): Uint8Array =>
  new TextEncoder().encode(text ?? "");

/** So many random bytes, in hexadecimal digits. */
export const randomHex = (bytes: number): string =>
  Array.from(crypto.getRandomValues(new Uint8Array(bytes)), (b) => b.toString(16).padStart(2, "0"))
    .join("");

/** `aa.bb.cc`, as rmw_cyclonedds tells which reader belongs to which writer. */
export const dotted = (digits: string): string => (digits.match(/../g) ?? []).join(".");

/** Who made the participant of an endpoint. */
export function vendorOf(maker: EndpointMaker, endpoint: EndpointData): number {
  return maker.participant(endpoint.guid.slice(0, 24))?.vendor ?? VENDOR_ID;
}

/** What is reported when a reader that takes nothing has lost what was for it. */
export function stalled(name: string, what: string, samples: number): PatchbayError {
  return new PatchbayError("overloaded", `${name}: ${samples} ${what} were given up`, {
    details: { samples },
    remedy: `somebody has taken nothing for ${STALL_MS / 1000} s, and there was no room left`,
  });
}
