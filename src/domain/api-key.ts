import { hash } from "node:crypto";
import { crc32 } from "node:zlib";

const PREFIX = "np_live_";
const SHAPE = /^np_live_([0-9a-zA-Z]{12})_([0-9a-zA-Z]{43})_([0-9a-zA-Z]{6})$/;
const BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/**
 * A new API key: `np_live_`, an id of 12 characters, a secret of 43 characters (256 bits), and a
 * checksum, by which scanners and this server detect a fake without a lookup. `random` gives
 * cryptographically secure bytes.
 */
export function createApiKey(random: (bytes: number) => Uint8Array): { readonly id: string; readonly token: string } {
  const id = base62(random, 12);
  const body = `${PREFIX}${id}_${base62(random, 43)}`;
  return { id, token: `${body}_${checksum(body)}` };
}

/** The id in a token; "" when its form or checksum is wrong; undefined without our prefix. */
export function apiKeyId(token: string): string | undefined {
  if (!token.startsWith(PREFIX)) return undefined;
  const match = SHAPE.exec(token);
  if (match === null) return "";
  return checksum(token.slice(0, token.lastIndexOf("_"))) === match[3] ? match[1] : "";
}

/** The stored form of a token, SHA-256. A fast hash suffices: tokens are random. */
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
  // Bytes of 248 and above would bias the first characters, so they are drawn again.
  while (out.length < length) {
    for (const byte of random(length - out.length)) if (byte < 248) out += BASE62[byte % 62];
  }
  return out;
}
