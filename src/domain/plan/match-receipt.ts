import { compareIds, type IdForm } from "../carrier-message-id.ts";
import { MAX_CLOCK_SKEW_MS } from "./claim.ts";

/** The result of matching a stored receipt; no message has exactly its id. */
export type MatchPlan<Candidate> =
  /** The receipt is about this message. `shown`: the new form of its carrier's ids, if any. */
  | { readonly kind: "match"; readonly candidate: Candidate; readonly shown: IdForm | undefined }
  /** The receipt is compared again later. */
  | { readonly kind: "wait" }
  /** Only a message with exactly the receipt's id can match. */
  | { readonly kind: "none" };

/** The facts that the matching of a receipt needs. */
export type MatchFacts = {
  /** When the receipt arrived, milliseconds since 1970. */
  readonly receivedAt: number;
  readonly now: number;
  /** The time of its carrier's oldest submit without an answer; undefined: there is none. */
  readonly openSince: number | undefined;
  /** The form that the carrier's receipts have used so far; undefined: not known yet. */
  readonly shown: IdForm | undefined;
};

/** The longest submit timeout: no submit stays without an answer for longer. */
const MAX_SUBMIT_TIMEOUT_MS = 3_600_000;

/**
 * Plans which message a stored receipt is about when its id has another form than the carrier's
 * answer. `candidates` are all messages of its carrier that its id may stand for. A receipt waits
 * while an answer with exactly its id may still arrive. It matches nothing in a form that the
 * carrier does not use, or if two messages are possible.
 */
export function planMatch<Candidate extends { readonly carrierMessageId: string | undefined }>(
  carrierMessageId: string,
  candidates: readonly Candidate[],
  { receivedAt, now, openSince, shown }: MatchFacts,
): MatchPlan<Candidate> {
  const pairs = candidates.flatMap((candidate) => {
    const pair = compareIds(candidate.carrierMessageId ?? "", carrierMessageId);
    return pair === undefined ? [] : [{ candidate, ...pair }];
  });
  const [exact, anotherExact] = pairs.filter(({ form }) => form === "exact");
  if (exact !== undefined && anotherExact === undefined) {
    return { kind: "match", candidate: exact.candidate, shown: undefined };
  }
  if (shown === "exact") return { kind: "none" };
  const isOpen = openSince !== undefined && openSince <= receivedAt + MAX_CLOCK_SKEW_MS;
  if (isOpen && now - receivedAt < MAX_SUBMIT_TIMEOUT_MS) return { kind: "wait" };
  const asShown = pairs.filter(({ form }) => form === shown);
  const possible = asShown.length > 0 ? asShown : pairs;
  const [only] = possible;
  if (only === undefined || possible.length > 1) return { kind: "none" };
  if (only.form !== shown && !only.isConclusive) return { kind: "wait" };
  return { kind: "match", candidate: only.candidate, shown: only.form === shown ? undefined : only.form };
}
