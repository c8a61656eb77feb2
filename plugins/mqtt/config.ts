/**
 * The configuration of mqtt: its table, what is wrong with one, and where the broker is.
 *
 * @module
 */

import {
  type Availability,
  checkPattern,
  type ConfigFields,
  matches,
  patienceFields,
  readServerUrl,
  type ServerPatience,
  type ServerTls,
  tlsComplaint,
  tlsFields,
} from "@patchbay/core";

/** A quality of service: at most once, at least once, exactly once. */
export type QoS = 0 | 1 | 2;

/** What the broker publishes when this bay is gone without a word. */
export interface Will {
  /** Where. */
  readonly topic: string;
  /** What: text, or bytes. */
  readonly payload: string | Uint8Array;
  /** How surely; default 0. */
  readonly qos?: QoS;
  /** Whether the broker keeps it. */
  readonly retain?: boolean;
}

/** The configuration of mqtt. */
export interface MqttConfig extends ServerTls, ServerPatience {
  /** Where the broker is: `mqtt://`, `mqtts://`, `ws://` or `wss://`. */
  readonly url?: string;
  /** `embedded`: the first bay on the host is the broker. */
  readonly broker?: "embedded";
  /** The broker's host; default 127.0.0.1. */
  readonly host?: string;
  /** The broker's port; default 1883, with TLS 8883, over WebSocket 80 and 443. */
  readonly port?: number;
  /** How it is reached. */
  readonly protocol?: "mqtt" | "mqtts" | "ws" | "wss";
  /** The path of a WebSocket. */
  readonly path: string;
  /** The version of MQTT: `auto` tries 5, then 3.1.1. */
  readonly version: "auto" | "5" | "3.1.1";
  /** The user. */
  readonly username?: string;
  /** The password. */
  readonly password?: string;
  /** The client's name; with it the session outlives the process. */
  readonly clientId?: string;
  /** For how long the broker keeps the session of a bay that is away, in milliseconds. */
  readonly sessionMs: number;
  /** What every topic begins with. */
  readonly prefix: string;
  /** The codec for contracts that name none. */
  readonly codec: string;
  /** The quality of shouts that no other field names. */
  readonly qos: number;
  /** Addresses whose shouts go with QoS 1. */
  readonly atLeastOnce: readonly string[];
  /** Addresses whose shouts go with QoS 2. */
  readonly exactlyOnce: readonly string[];
  /** Listeners of bays with the same group share the shouts. */
  readonly group?: string;
  /** Whether what comes twice is delivered once. */
  readonly deduplicate: boolean;
  /** The broker forgets a shout after this time, in milliseconds; 0: never. */
  readonly expiryMs: number;
  /** Whether the broker keeps the last value of a speaker that has closed. */
  readonly keepRetained: boolean;
  /** What the broker publishes when this bay is gone without a word. */
  readonly will?: Will;
  /** What happens to calls while the connection is lost: `fail` at once, or `wait`. */
  readonly whenLost: "fail" | "wait";
  /** After so much silence the broker is asked whether it is there, in milliseconds; 0: never. */
  readonly keepaliveMs: number;
  /** A bay of which nothing is heard for so long counts as gone, in milliseconds. */
  readonly leaseMs: number;
  /** For how long one that was cut off may come back to its jobs, in milliseconds. */
  readonly comebackMs: number;
  /** The largest message, in bytes; default: the bay's. */
  readonly maxMessageBytes?: number;
  /** The most bytes that wait to be sent. */
  readonly maxQueueBytes: number;
  /** The most shouts with QoS 1 or 2 that the broker has not confirmed. */
  readonly maxUnconfirmed: number;
}

/** MQTT's largest packet is 256 MiB less one byte; topic and properties need some of it. */
export const MAX_PAYLOAD_BYTES = 255 * 1024 * 1024;

/**
 * The table of the configuration.
 *
 * @param qos The quality of shouts if the user says nothing.
 */
export function fields(qos: QoS): ConfigFields {
  return {
    url: {
      kind: "string",
      description:
        "`mqtt://user:password@host:port`; `mqtts://`: TLS; `ws://`, `wss://`: WebSocket",
    },
    broker: {
      kind: "string",
      oneOf: ["embedded"],
      description: "`embedded`: the first bay at host and port is the broker; MQTT 3.1.1 only",
    },
    host: { kind: "string", description: "the broker's host; default 127.0.0.1" },
    port: {
      kind: "integer",
      min: 1,
      max: 65_535,
      description: "its port; default 1883, mqtts 8883, ws 80, wss 443",
    },
    protocol: {
      kind: "string",
      oneOf: ["mqtt", "mqtts", "ws", "wss"],
      description: "how it is reached, where no `url` says so; default mqtt",
    },
    path: { kind: "string", description: "the path of a WebSocket", default: "/" },
    version: {
      kind: "string",
      oneOf: ["auto", "5", "3.1.1"],
      description: "version of MQTT; `auto` tries 5, then 3.1.1",
      default: "auto",
    },
    username: { kind: "string", description: "the user" },
    password: { kind: "string", description: "the password" },
    ...tlsFields("broker"),
    clientId: {
      kind: "string",
      description: "the client's name, of one process at a time: its session outlives the process",
    },
    sessionMs: {
      kind: "integer",
      min: 0,
      description: "how long the broker keeps the session of a bay that is away, in ms",
      default: 3_600_000,
    },
    prefix: {
      kind: "string",
      description: "what every topic begins with",
      default: "patchbay",
    },
    codec: {
      kind: "string",
      oneOf: ["json", "msgpack"],
      description: "codec for contracts that name none; bytes and bigint go as MessagePack",
      default: "json",
    },
    qos: {
      kind: "integer",
      min: 0,
      max: 2,
      description: "quality of service of shouts that the next two fields do not name",
      default: qos,
    },
    atLeastOnce: {
      kind: "strings",
      description: "addresses whose shouts go with QoS 1: set it at both sides",
      default: [],
    },
    exactlyOnce: {
      kind: "strings",
      description: "addresses whose shouts go with QoS 2: set it at both sides",
      default: [],
    },
    group: {
      kind: "string",
      description: "listeners of bays with the same group share the shouts (`$share`)",
    },
    deduplicate: {
      kind: "boolean",
      description: "what comes twice with QoS 1 is delivered once, and counted as `duplicate`",
      default: true,
    },
    expiryMs: {
      kind: "integer",
      min: 0,
      description: "the broker forgets a shout after this time, in ms; 0: never; MQTT 5",
      default: 0,
    },
    keepRetained: {
      kind: "boolean",
      description: "the broker keeps the last value when the speaker that retains has closed",
      default: false,
    },
    will: {
      kind: "object",
      description: "`{ topic, payload, qos, retain }`: published when this bay dies",
    },
    whenLost: {
      kind: "string",
      oneOf: ["fail", "wait"],
      description:
        "calls while the connection is lost `fail` at once, or `wait` for their deadline",
      default: "fail",
    },
    keepaliveMs: {
      kind: "integer",
      min: 0,
      description: "after so much silence each side asks whether the other is there, in ms",
      default: 30_000,
    },
    ...patienceFields,
    leaseMs: {
      kind: "integer",
      min: 1000,
      description: "a bay of which nothing is heard for so long counts as gone, in ms",
      default: 60_000,
    },
    comebackMs: {
      kind: "integer",
      min: 0,
      description: "for how long a bay that was cut off may come back to its jobs, in ms",
      default: 10_000,
    },
    maxMessageBytes: {
      kind: "integer",
      min: 1,
      max: MAX_PAYLOAD_BYTES,
      description: "largest message, in bytes; default: the bay's, 10 MiB",
    },
    maxQueueBytes: {
      kind: "integer",
      min: 65_536,
      description: "most bytes that wait to be sent",
      default: 64 * 1024 * 1024,
    },
    maxUnconfirmed: {
      kind: "integer",
      min: 1,
      max: 65_000,
      description: "most shouts with QoS 1 or 2 that the broker has not confirmed; then it waits",
      default: 8192,
    },
  };
}

/** A configuration whose URL was read. */
export interface ResolvedConfig extends MqttConfig {
  /** The broker's host. */
  readonly host: string;
  /** Its port. */
  readonly port: number;
  /** How it is reached. */
  readonly protocol: "mqtt" | "mqtts" | "ws" | "wss";
}

const PORTS = { mqtt: 1883, mqtts: 8883, ws: 80, wss: 443 } as const;
const SCHEMES: Readonly<Record<string, keyof typeof PORTS>> = {
  mqtt: "mqtt",
  tcp: "mqtt",
  mqtts: "mqtts",
  ssl: "mqtts",
  ws: "ws",
  wss: "wss",
};

/** What a URL says is put into the other fields, and host and port are filled in. */
export function withUrl(given: MqttConfig): ResolvedConfig {
  const { host = "127.0.0.1", protocol = "mqtt" } = given;
  const config = { ...given, host, protocol, port: given.port ?? PORTS[protocol] };
  const url = readServerUrl(given.url ?? "");
  if (url === undefined) return config;
  const scheme = SCHEMES[url.scheme] ?? protocol;
  return {
    ...config,
    protocol: scheme,
    host: url.host ?? config.host,
    port: url.port ?? given.port ?? PORTS[scheme],
    path: url.path ?? config.path,
    username: url.username ?? config.username,
    password: url.password ?? config.password,
  };
}

/** Whether the connection is encrypted. */
export function isSecure(config: ResolvedConfig): boolean {
  return config.protocol === "mqtts" || config.protocol === "wss";
}

/** Where the broker is, in words. */
export function whereOf(config: ResolvedConfig): string {
  return `${config.host.includes(":") ? `[${config.host}]` : config.host}:${config.port}`;
}

/** The quality of shouts at an address. */
export function qosOf(config: MqttConfig, address: string): QoS {
  if (config.exactlyOnce.some((pattern) => matches(pattern, address))) return 2;
  if (config.atLeastOnce.some((pattern) => matches(pattern, address))) return 1;
  return config.qos as QoS;
}

/**
 * The quality with which a pattern is listened to: the best one of any shout that it may meet.
 *
 * @param config The configuration.
 * @param pattern The address or pattern.
 */
export function listeningQos(config: MqttConfig, pattern: string): QoS {
  const meets = (patterns: readonly string[]) => patterns.some((each) => mayMeet(each, pattern));
  if (meets(config.exactlyOnce)) return 2;
  if (meets(config.atLeastOnce)) return Math.max(1, config.qos) as QoS;
  return config.qos as QoS;
}

/** Whether there can be an address that both patterns match. */
function mayMeet(one: string, other: string): boolean {
  const [a, b] = [one.split("/"), other.split("/")];
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    if (a[i] === "**" || b[i] === "**") return i < Math.min(a.length, b.length);
    if (a[i] === undefined || b[i] === undefined) return false;
    if (a[i] !== b[i] && a[i] !== "*" && b[i] !== "*") return false;
  }
  return true;
}

/**
 * What is wrong with a configuration, if anything is.
 *
 * @param given The configuration.
 */
export function complaint(given: MqttConfig): Availability | undefined {
  const no = (reason: string, remedy: string): Availability => (
    { available: false, reason, remedy }
  );
  if ((given.url ?? given.host ?? given.port ?? given.broker) === undefined) {
    // A bay that happens to find the plugin does not join whatever broker runs on this host.
    return no(
      "it is not configured: neither `url` nor `host`, `port` or `broker`",
      'set config.mqtt.url to "mqtt://host:port", or config.mqtt.broker to "embedded"',
    );
  }
  if (given.url !== undefined) {
    const url = readServerUrl(given.url);
    if (url?.host === undefined || SCHEMES[url.scheme] === undefined) {
      // The URL may hold a password: it is not repeated.
      return no(
        "`url` is none of MQTT",
        "write mqtt://user:password@host:port, or mqtts, ws, wss; % in a password as %25",
      );
    }
  }
  const config = withUrl(given);
  if (config.broker === "embedded") {
    if (config.protocol !== "mqtt") {
      return no(`the embedded broker does not speak ${config.protocol}`, "use mqtt, or mosquitto");
    }
    if (config.version === "5") {
      return no("the embedded broker speaks MQTT 3.1.1 only", 'set version: "auto", or mosquitto');
    }
  }
  const insecure = tlsComplaint(config, isSecure(config), "use mqtts or wss");
  if (insecure !== undefined) return insecure;
  if (!/^[\w.-]+(\/[\w.-]+)*$/.test(config.prefix)) {
    return no(`\`prefix\` ${JSON.stringify(config.prefix)}`, "use letters, digits, `_.-/`");
  }
  if (config.group !== undefined && !/^[\w.-]+$/.test(config.group)) {
    return no(`\`group\` ${JSON.stringify(config.group)}`, "use letters, digits, `_.-`");
  }
  for (const key of ["atLeastOnce", "exactlyOnce"] as const) {
    for (const pattern of config[key]) {
      try {
        checkPattern(pattern);
      } catch (error) {
        return no(`\`${key}\`: ${(error as Error).message}`, 'write patterns such as "arm/**"');
      }
    }
  }
  const { will } = config;
  if (will !== undefined) {
    const problem = badTopic(will.topic) ??
      (typeof will.payload === "string" || will.payload instanceof Uint8Array
        ? [0, 1, 2, undefined].includes(will.qos) ? undefined : "its qos is none of 0, 1 and 2"
        : "its payload is neither text nor bytes");
    if (problem !== undefined) {
      return no(`\`will\`: ${problem}`, 'write { topic: "arm/state", payload: "gone", qos: 1 }');
    }
  }
  return undefined;
}

/**
 * What is wrong with the topic of a message, if anything is.
 *
 * @param topic The topic.
 */
export function badTopic(topic: unknown): string | undefined {
  if (typeof topic !== "string" || topic === "") return "the topic is empty";
  if (/[+#\0]/.test(topic)) return `the topic ${JSON.stringify(topic)} has a wildcard`;
  if (new TextEncoder().encode(topic).length > 65_535) return "the topic is longer than 64 KiB";
  return undefined;
}
