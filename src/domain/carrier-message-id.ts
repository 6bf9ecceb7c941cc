/**
 * A carrier's id of a message as it is looked up by: without spaces around it, leading zeros and the case of its letters, none of
 * which carriers keep from a submit's answer to its receipt.
 */
export function carrierMessageKey(id: string): string {
  const key = id.trim().toLowerCase();
  return key.replace(/^0+(?=[0-9a-f])/, "");
}

/**
 * The keys that a receipt's id may stand for, the likeliest first: carriers that answer a submit in hex may report in decimal, and
 * the other way round.
 */
export function carrierMessageKeys(id: string): string[] {
  const key = carrierMessageKey(id);
  const keys = [key];
  if (key.length > MOST_DIGITS) return keys;
  if (/^[0-9]+$/.test(key)) keys.push(BigInt(key).toString(16));
  if (/^[0-9a-f]+$/.test(key)) keys.push(BigInt(`0x${key}`).toString(10));
  return keys;
}

/** SMPP's ids have at most 64 characters; longer ones are no numbers. */
const MOST_DIGITS = 64;
