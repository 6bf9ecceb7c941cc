import { createHash, randomBytes } from "node:crypto";
import { crc32 } from "node:zlib";

const PREFIX = "np_live_";
const SHAPE = /^np_live_([0-9a-zA-Z]{12})_([0-9a-zA-Z]{43})_([0-9a-zA-Z]{6})$/;
const BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/**
 * A new API key: `np_live_`, 12 characters that name it, 43 characters (256 bits) of secret, and a checksum, so that scanners and
 * this server tell a fake without looking anything up.
 */
export function createApiKey(): { readonly id: string; readonly token: string } {
  const id = base62(randomBytes(12), 12);
  const body = `${PREFIX}${id}_${base62(randomBytes(43), 43)}`;
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
  return createHash("sha256").update(token).digest();
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

function base62(bytes: Uint8Array, length: number): string {
  let out = "";
  // Six bits at a time would leave out two of 64 values; drawing again is simpler than spreading the rest.
  for (const byte of bytes) {
    let value = byte & 0x3f;
    while (value >= 62) value = (randomBytes(1)[0] as number) & 0x3f;
    out += BASE62[value];
  }
  return out.slice(0, length);
}
