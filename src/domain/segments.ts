/** How a text is sent: its encoding, its parts, and its length as people count it. */
export interface Segments {
  readonly encoding: "GSM-7" | "UCS-2";
  /** At least 1, also for the empty text; without an upper limit. */
  readonly parts: number;
  /**
   * Unicode code points: a surrogate pair counts as one, and so does a character of GSM-7's
   * extension table. CR LF counts as two; a combining mark, a joiner and a variation selector as
   * one each.
   */
  readonly numChars: number;
}

/** The first character of a text that GSM-7 cannot encode. */
export interface Unencodable {
  readonly unencodable: string;
}

/**
 * Splits a text as the network does (3GPP TS 23.038 and 23.040): 160 septets in a single GSM-7
 * message, 153 in each of several parts; 70 and 67 code units in UCS-2. A part never splits a
 * surrogate pair or a character of the extension table, which takes two septets. `auto` uses GSM-7
 * when it has every character; no character is ever replaced.
 */
export function segment(text: string, encoding: "auto" | "gsm7" | "ucs2"): Segments | Unencodable {
  if (encoding === "ucs2") {
    return segmentUcs2(text);
  }
  const { length } = text;
  let septets = 0;
  let parts = 1;
  let room = 153;
  for (let position = 0; position < length; position++) {
    const width = septetWidths[text.charCodeAt(position)] ?? 0;
    if (width === 0) {
      return encoding === "auto"
        ? segmentUcs2(text)
        : { unencodable: String.fromCodePoint(text.codePointAt(position) ?? 0) };
    }
    septets += width;
    room -= width;
    if (room < 0) {
      parts++;
      room = 153 - width;
    }
  }
  return { encoding: "GSM-7", parts: septets <= 160 ? 1 : parts, numChars: length };
}

function segmentUcs2(text: string): Segments {
  const { length } = text;
  let pairs = 0;
  for (let position = 0; position < length; position++) {
    if (isPair(text, position)) {
      pairs++;
    }
  }
  let parts = 1;
  for (let end = 67; end < length; end += 67) {
    parts++;
    if (isPair(text, end - 1)) {
      end--;
    }
  }
  return { encoding: "UCS-2", parts: length <= 70 ? 1 : parts, numChars: length - pairs };
}

function isPair(text: string, position: number): boolean {
  return (text.charCodeAt(position) & 0xfc00) === 0xd800 && (text.charCodeAt(position + 1) & 0xfc00) === 0xdc00;
}

// In the order of 3GPP TS 23.038, sixteen to a line, without the escape to the extension table.
const defaultAlphabet =
  "@£$¥èéùìòÇ\nØø\rÅå" +
  "Δ_ΦΓΛΩΠΨΣΘΞÆæßÉ" +
  " !\"#¤%&'()*+,-./" +
  "0123456789:;<=>?" +
  "¡ABCDEFGHIJKLMNO" +
  "PQRSTUVWXYZÄÖÑÜ§" +
  "¿abcdefghijklmno" +
  "pqrstuvwxyzäöñüà";
const extensionTable = "\f^{}\\[~]|€";

/** Septets that a code unit takes in GSM-7; 0 when GSM-7 does not have it. */
const septetWidths = new Uint8Array(0x10000);
for (const character of defaultAlphabet) {
  septetWidths[character.charCodeAt(0)] = 1;
}
for (const character of extensionTable) {
  septetWidths[character.charCodeAt(0)] = 2;
}
