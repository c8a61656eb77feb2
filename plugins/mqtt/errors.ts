/**
 * What MQTT.js and brokers say, as Patchbay's errors: translated here and nowhere else.
 *
 * @module
 */

import { type ErrorCode, PatchbayError } from "@patchbay/core";

/** Refusals of a connection by their code: of MQTT 3.1.1 (1–5) and of MQTT 5 (128 and up). */
const REFUSALS: Readonly<Record<number, readonly [ErrorCode, string, string]>> = {
  1: ["unavailable", "it does not speak this version of MQTT", 'set config.mqtt.version: "auto"'],
  2: ["unavailable", "it does not take this client's name", "set another config.mqtt.clientId"],
  3: ["unavailable", "it is not available", "see the broker's log"],
  4: [
    "unauthenticated",
    "the user or the password is wrong",
    "set config.mqtt.username and password as the broker knows them",
  ],
  5: [
    "unauthenticated",
    "it does not let this client in",
    "set config.mqtt.username and password, or cert and key, as the broker knows them",
  ],
  128: ["unavailable", "it refuses, and says no reason", "see the broker's log"],
  132: ["unavailable", "it does not speak this version of MQTT", 'set config.mqtt.version: "auto"'],
  133: ["unavailable", "it does not take this client's name", "set another config.mqtt.clientId"],
  134: [
    "unauthenticated",
    "the user or the password is wrong",
    "set config.mqtt.username and password as the broker knows them",
  ],
  135: [
    "unauthenticated",
    "it does not let this client in",
    "set config.mqtt.username and password, or cert and key, as the broker knows them",
  ],
  136: ["unavailable", "it is not available", "see the broker's log"],
  137: ["overloaded", "it is busy", "try again later"],
  138: ["forbidden", "it has banned this client", "see the broker's log"],
  142: [
    "unavailable",
    "another client has taken the same name",
    "give each bay a config.mqtt.clientId of its own",
  ],
  149: ["too_large", "a packet was too large for it", "raise the broker's limit, or send less"],
  151: ["overloaded", "a quota is used up", "raise the broker's limit"],
};

/** The words of the socket by their code. */
const SOCKET: Readonly<Record<string, string>> = {
  ECONNREFUSED: "the connection was refused",
  ENOTFOUND: "there is no such host",
  EAI_AGAIN: "the host's name cannot be resolved",
  ETIMEDOUT: "it did not answer",
  ECONNRESET: "it closed the connection",
  EHOSTUNREACH: "there is no way to that host",
};

function textOf(error: unknown): string {
  return error instanceof Error ? error.message || error.name : String(error);
}

/** The reason code of an answer of the broker; `undefined` if it is none. */
export function reasonCode(error: unknown): number | undefined {
  const { code } = (error ?? {}) as { code?: unknown };
  return typeof code === "number" ? code : undefined;
}

/** Whether the broker wants another version of MQTT. */
export function wantsOtherVersion(error: unknown): boolean {
  const code = reasonCode(error);
  return code === 1 || code === 132;
}

/** Whether a refusal will not become a welcome by trying again. */
export function isRefusal(error: unknown): boolean {
  const code = reasonCode(error);
  return code !== undefined && code !== 3 && code !== 136 && code !== 137;
}

/** Whether the connection was lost, as opposed to something refused. */
export function isLoss(error: unknown): boolean {
  return /connection closed|No connection to broker|client disconnecting|Message removed/i
    .test(textOf(error));
}

/**
 * An error of one subscription or publication.
 *
 * @param error What MQTT.js rejected with.
 * @param where The broker, for the message.
 * @param doing What was being done.
 */
export function translate(error: unknown, where: string, doing: string): PatchbayError {
  if (error instanceof PatchbayError) return error;
  const code = reasonCode(error);
  if (code === 135 || (code === 128 && /subscri/i.test(textOf(error)))) {
    return new PatchbayError("forbidden", `${doing}: the broker at ${where} does not allow it`, {
      remedy: "grant the topic in the broker's ACL (the plugin's README lists them)",
      cause: error,
    });
  }
  if (code === 149) {
    return new PatchbayError("too_large", `${doing}: too large for the broker at ${where}`, {
      remedy: "raise the broker's limit (mosquitto: message_size_limit), or send less",
      cause: error,
    });
  }
  if (code === 151 || code === 147) {
    return new PatchbayError("overloaded", `${doing}: ${where} answered ${textOf(error)}`, {
      remedy: "raise the broker's limits (mosquitto: max_queued_messages), or send less",
      cause: error,
    });
  }
  if (isLoss(error)) {
    return new PatchbayError("closed", `${doing}: the connection to ${where} was lost`, {
      cause: error,
    });
  }
  return new PatchbayError("unavailable", `${doing}: ${where} answered ${textOf(error)}`, {
    remedy: "see the broker's log",
    cause: error,
  });
}

/**
 * The error of a connection that could not be made.
 *
 * @param error What happened; `undefined`: nothing, in time.
 * @param where The broker: host and port.
 * @param timeoutMs How long was waited.
 */
export function unreachable(error: unknown, where: string, timeoutMs: number): PatchbayError {
  if (error instanceof PatchbayError) return error;
  const begin = `the MQTT broker at ${where}`;
  if (error === undefined || /connack timeout/i.test(textOf(error))) {
    return new PatchbayError(
      "unavailable",
      `${begin} cannot be reached: it did not answer within ${timeoutMs} ms`,
      { details: { where }, remedy: "see whether a broker runs there, and set config.mqtt.url" },
    );
  }
  const text = textOf(error);
  const refusal = REFUSALS[reasonCode(error) ?? -1];
  if (refusal !== undefined) {
    const [code, why, remedy] = refusal;
    return new PatchbayError(code, `${begin} refuses this bay: ${why}`, {
      retryable: !isRefusal(error),
      remedy,
      cause: error,
    });
  }
  if (/certificate|issuer|self.signed|handshake|tls|ssl|InvalidData/i.test(text)) {
    return new PatchbayError("unavailable", `${begin} cannot be trusted: ${text}`, {
      retryable: false,
      remedy: "set config.mqtt.ca to the authority that signed its certificate, and serverName " +
        "to the name in it; cert and key if it asks for a client's certificate",
      cause: error,
    });
  }
  const { code } = error as { code?: unknown };
  const why = typeof code === "string" && SOCKET[code] !== undefined ? SOCKET[code] : text;
  return new PatchbayError("unavailable", `${begin} cannot be reached: ${why}`, {
    details: { where },
    remedy:
      'start one there (mosquitto, or patchbay broker), set config.mqtt.broker: "embedded", or ' +
      "config.mqtt.url to where it runs",
    cause: error,
  });
}
