/**
 * Bytes of a request, built once, and where in them the digits stand that are counted up, so that every request has recipients of
 * its own at the price of writing seven bytes.
 */
export type Template = { readonly base64: string; readonly digits: readonly number[] };

/** Seven digits that stand where the counter goes, and nowhere else in a request. */
export const DIGITS = "7070707";

/** The template of a request in which DIGITS mark the places. */
export function templateOf(request: Uint8Array | string): Template {
  const bytes = Buffer.from(request);
  const digits: number[] = [];
  for (let at = bytes.indexOf(DIGITS); at >= 0; at = bytes.indexOf(DIGITS, at + 1)) digits.push(at);
  return { base64: bytes.toString("base64"), digits };
}

/** Gives functions that write the next recipients into a copy of a template; all count on together. */
export function createCounter(): (bytes: Buffer, digits: readonly number[]) => void {
  // An exchange code begins with 2 to 9.
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
