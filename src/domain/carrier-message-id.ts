/**
 * The lookup key of a carrier's message id: trimmed, in lower case, without leading zeros. Carriers
 * change all three between a submit's answer and its receipt.
 */
export function carrierMessageKey(id: string): string {
  const key = id.trim().toLowerCase();
  return key.replace(/^0+(?=[0-9a-f])/, "");
}

/**
 * The keys that a receipt's id may mean, the likeliest first. Some carriers answer a submit in hex
 * and report in decimal, or the other way round.
 */
export function carrierMessageKeys(id: string): string[] {
  const key = carrierMessageKey(id);
  const keys = [key];
  if (key.length > MAX_DIGITS) return keys;
  if (/^[0-9]+$/.test(key)) keys.push(BigInt(key).toString(16));
  if (/^[0-9a-f]+$/.test(key)) keys.push(BigInt(`0x${key}`).toString(10));
  return [...new Set(keys)];
}

/** SMPP ids have at most 64 characters; a longer id is not a number. */
const MAX_DIGITS = 64;

/** Whether two ids are equal, without surrounding spaces. */
export function isSameId(one: string, other: string): boolean {
  return one.trim() === other.trim();
}

/**
 * How the ids in a carrier's receipts differ from the ids in its answers: not at all, in case or
 * leading zeros, or as decimal for hex and hex for decimal.
 */
export type IdForm = "exact" | "folded" | "decimal" | "hex";

/** The form of a receipt's id relative to the answer's id. */
export type IdPair = {
  readonly form: IdForm;
  /** This pair alone proves the form: no carrier with another form writes ids like these. */
  readonly isConclusive: boolean;
};

/** Compares a receipt's id with an answer's id; undefined when they cannot be the same id. */
export function compareIds(answered: string, received: string): IdPair | undefined {
  const [answer, receipt] = [answered.trim(), received.trim()];
  // Digits alone prove nothing: they have no case, and may be hex or decimal.
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
