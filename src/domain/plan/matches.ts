import type { IdForm } from "../carrier-message-id.ts";
import type { CarrierIdForm, Changes, UnmatchedReceipt } from "./changes.ts";
import { planMatch } from "./match-receipt.ts";
import { type MessageFacts, ReportBook, type ReportOutcome } from "./reports.ts";

/** The facts that the matching of stored receipts needs. */
export type MatchesFacts = {
  readonly now: number;
  readonly receipts: readonly UnmatchedReceipt[];
  /** The messages that the receipts may be about. */
  readonly messages: readonly MessageFacts[];
  /** The time of each carrier's oldest submit without an answer. */
  readonly openSince: ReadonlyMap<string, number>;
  /** The forms of ids that carriers' receipts have used so far. */
  readonly forms: readonly CarrierIdForm[];
};

/** Plans which stored receipts match a message; `planMatch` has the rules. */
export function planMatches({ now, receipts, messages, openSince, forms }: MatchesFacts): {
  changes: Changes;
  outcomes: readonly ReportOutcome[];
} {
  const book = new ReportBook(messages, []);
  const shown = new Map<string, IdForm>(forms.map((each) => [`${each.carrier} ${each.organizationId}`, each.form]));
  const outcomes: ReportOutcome[] = [];
  const idForms = new Map<string, CarrierIdForm>();
  const deleted: number[] = [];
  const examined: number[] = [];
  for (const { sequence, carrier, organizationId, carrierMessageId, report, receivedAt } of receipts) {
    if (sequence === undefined) continue;
    const formKey = `${carrier} ${organizationId}`;
    const candidates = messages.filter(
      ({ message }) =>
        message.carrier === carrier && (organizationId === "" || message.organizationId === organizationId),
    );
    const facts = { receivedAt, now, openSince: openSince.get(carrier), shown: shown.get(formKey) };
    const plan = planMatch(carrierMessageId, candidates, facts);
    if (plan.kind === "none") examined.push(sequence);
    if (plan.kind !== "match") continue;
    deleted.push(sequence);
    if (plan.shown !== undefined) {
      shown.set(formKey, plan.shown);
      idForms.set(formKey, { carrier, organizationId, form: plan.shown });
    }
    outcomes.push(book.applyTo(plan.candidate.message, report, carrierMessageId));
  }
  const changes = book.changes();
  return {
    outcomes,
    changes: { ...changes, deletedReceipts: deleted, examinedReceipts: examined, idForms: [...idForms.values()] },
  };
}
