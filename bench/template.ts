/**
 * The bytes of a request, built once, and the positions of its digits. Seven bytes are overwritten
 * to give every request its own recipients.
 */
export type Template = { readonly base64: string; readonly digits: readonly number[] };

/** Seven digits that mark the counter, and occur nowhere else in a request. */
export const DIGITS = "7070707";

/** The template of a request with DIGITS as its marks. */
export function templateOf(request: Uint8Array | string): Template {
  const bytes = Buffer.from(request);
  const digits: number[] = [];
  for (let at = bytes.indexOf(DIGITS); at >= 0; at = bytes.indexOf(DIGITS, at + 1)) digits.push(at);
  return { base64: bytes.toString("base64"), digits };
}

/**
 * Makes functions that write the next recipients into a copy of a template, from one shared
 * counter.
 */
export function createCounter(): (bytes: Buffer, digits: readonly number[]) => void {
  // An exchange code starts with 2 to 9.
  let next = 2_000_000;
  return (bytes, digits) => {
    for (const at of digits) {
      let rest = next;
      next = next === 9_999_999 ? 2_000_000 : next + 1;
      for (let index = at + 6; index >= at; index -= 1) {
        bytes[index] = 48 + (rest % 10);
        rest = Math.floor(rest / 10);
      }
    }
  };
}
