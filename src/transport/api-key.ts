import { hash } from "node:crypto";
import { crc32 } from "node:zlib";

const PREFIX = "np_live_";
const SHAPE = /^np_live_([0-9a-zA-Z]{12})_([0-9a-zA-Z]{43})_([0-9a-zA-Z]{6})$/;
const BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/**
 * A new API key: `np_live_`, 12 characters that name it, 43 characters (256 bits) of secret, and a checksum, so that scanners and
 * this server tell a fake without looking anything up. `random` gives so many bytes that nobody can foresee.
 */
export function createApiKey(random: (bytes: number) => Uint8Array): { readonly id: string; readonly token: string } {
  const id = base62(random, 12);
  const body = `${PREFIX}${id}_${base62(random, 43)}`;
  return { id, token: `${body}_${checksum(body)}` };
}

/** The id in a token of our shape; "" when its checksum is wrong; undefined when it is of another shape. */
export function apiKeyId(token: string): string | undefined {
  if (!token.startsWith(PREFIX)) return undefined;
  const match = SHAPE.exec(token);
  if (match === null) return "";
  return checksum(token.slice(0, token.lastIndexOf("_"))) === match[3] ? match[1] : "";
}

/** What is kept of a token. A fast hash is enough: tokens are random, not chosen by people. */
export function hashOfToken(token: string): Buffer {
  return hash("sha256", token, "buffer");
}

function checksum(text: string): string {
  let rest = crc32(text);
  let out = "";
  for (let digit = 0; digit < 6; digit += 1) {
    out = BASE62[rest % 62] + out;
    rest = Math.floor(rest / 62);
  }
  return out;
}

function base62(random: (bytes: number) => Uint8Array, length: number): string {
  let out = "";
  // Bytes that would favour some characters are drawn again.
  while (out.length < length) {
    for (const byte of random(length - out.length)) if (byte < 248) out += BASE62[byte % 62];
  }
  return out;
}
