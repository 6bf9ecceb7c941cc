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
  if (key.length > MAX_DIGITS) return keys;
  if (/^[0-9]+$/.test(key)) keys.push(BigInt(key).toString(16));
  if (/^[0-9a-f]+$/.test(key)) keys.push(BigInt(`0x${key}`).toString(10));
  return [...new Set(keys)];
}

/** SMPP's ids have at most 64 characters; longer ones are no numbers. */
const MAX_DIGITS = 64;

/** Whether two ids are the same, character for character. */
export function isSameId(one: string, other: string): boolean {
  return one.trim() === other.trim();
}

/**
 * How a carrier's receipts write the ids of its answers: the same way, in another case or with other leading zeros, or as the decimal
 * or the hex number of an id in hex or decimal.
 */
export type IdForm = "exact" | "folded" | "decimal" | "hex";

/** The form that a receipt's id has against an answer's. */
export type IdPair = {
  readonly form: IdForm;
  /** The pair shows the form by itself: no carrier with another form writes ids like these. */
  readonly isConclusive: boolean;
};

/** How a receipt's id stands to the id of a carrier's answer; undefined: they cannot be one id. */
export function compareIds(answered: string, received: string): IdPair | undefined {
  const [answer, receipt] = [answered.trim(), received.trim()];
  // Digits alone are the same in every case, and may be hex or decimal.
  if (answer === receipt) return { form: "exact", isConclusive: /[a-z]|^0./i.test(answer) };
  const [answerKey, receiptKey] = [carrierMessageKey(answer), carrierMessageKey(receipt)];
  if (answerKey === receiptKey) return { form: "folded", isConclusive: true };
  if (Math.max(answerKey.length, receiptKey.length) > MAX_DIGITS) return undefined;
  if (isDecimalOf(receiptKey, answerKey)) return { form: "decimal", isConclusive: /[a-f]/.test(answerKey) };
  if (isDecimalOf(answerKey, receiptKey)) return { form: "hex", isConclusive: /[a-f]/.test(receiptKey) };
  return undefined;
}

function isDecimalOf(decimal: string, hex: string): boolean {
  return /^[0-9]+$/.test(decimal) && /^[0-9a-f]+$/.test(hex) && BigInt(decimal) === BigInt(`0x${hex}`);
}
