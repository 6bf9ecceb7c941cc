import { compareIds, type IdForm } from "../carrier-message-id.ts";
import { MAX_CLOCK_SKEW_MS } from "./claim.ts";

/** What becomes of a receipt that is kept because no message has exactly its id. */
export type MatchPlan<Candidate> =
  /** It is about this message. `shown`: the form that its carrier's ids have, if that is to be noted. */
  | { readonly kind: "match"; readonly candidate: Candidate; readonly shown: IdForm | undefined }
  /** It is to be looked at again. */
  | { readonly kind: "wait" }
  /** Only a message with exactly its id can be meant. */
  | { readonly kind: "none" };

/** What is known when a receipt is matched. */
export type MatchFacts = {
  /** When the receipt came, milliseconds since 1970. */
  readonly receivedAt: number;
  readonly now: number;
  /** When the oldest submit of its carrier that is not answered yet was made; undefined: there is none. */
  readonly openSince: number | undefined;
  /** The form that the carrier's receipts have shown; undefined: none yet. */
  readonly shown: IdForm | undefined;
};

/** No submit is open for longer than this, milliseconds: it is the longest submit timeout. */
const MAX_OPEN = 3_600_000;

/**
 * Plans which message a kept receipt is about, whose id is written in another form than the carrier's answer. `candidates` are all
 * messages of its carrier that its id may stand for. Nothing is matched while an answer can still come that has exactly its id, in a
 * form that the carrier has not shown, or where two messages may be meant.
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
  if (isOpen && now - receivedAt < MAX_OPEN) return { kind: "wait" };
  const asShown = pairs.filter(({ form }) => form === shown);
  const meant = asShown.length > 0 ? asShown : pairs;
  const [only] = meant;
  if (only === undefined || meant.length > 1) return { kind: "none" };
  if (only.form !== shown && !only.isConclusive) return { kind: "wait" };
  return { kind: "match", candidate: only.candidate, shown: only.form === shown ? undefined : only.form };
}
