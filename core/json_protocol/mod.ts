/**
 * `patchbay.json.v1`: the session in JSON, for clients without our library.
 *
 * @module
 */

export { JsonLink, type JsonLinkOptions } from "./json_link.ts";
export { JSON_PROTOCOL, type TextChannel, type TextHandler } from "./text_channel.ts";
