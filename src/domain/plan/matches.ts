import type { IdForm } from "../carrier-message-id.ts";
import type { CarrierIdForm, Changes, UnmatchedReceipt } from "./changes.ts";
import { planMatch } from "./match-receipt.ts";
import { type MessageFacts, ReportBook, type ReportOutcome } from "./reports.ts";

/** What is known when stored receipts are compared with messages. */
export type MatchesFacts = {
  readonly now: number;
  /** Receipts that are stored. */
  readonly receipts: readonly UnmatchedReceipt[];
  /** The messages that they may be about. */
  readonly messages: readonly MessageFacts[];
  /** When the oldest submit without an answer was made, by carrier. */
  readonly openSince: ReadonlyMap<string, number>;
  /** The forms that carriers' receipts have shown. */
  readonly forms: readonly CarrierIdForm[];
};

/** Plans which stored receipts find their messages: see `planMatch`. */
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
    const name = `${carrier} ${organizationId}`;
    const candidates = messages.filter(
      ({ message }) =>
        message.carrier === carrier && (organizationId === "" || message.organizationId === organizationId),
    );
    const facts = { receivedAt, now, openSince: openSince.get(carrier), shown: shown.get(name) };
    const plan = planMatch(carrierMessageId, candidates, facts);
    if (plan.kind === "none") examined.push(sequence);
    if (plan.kind !== "match") continue;
    deleted.push(sequence);
    if (plan.shown !== undefined) {
      shown.set(name, plan.shown);
      idForms.set(name, { carrier, organizationId, form: plan.shown });
    }
    outcomes.push(book.applyTo(plan.candidate.message, report, carrierMessageId));
  }
  const changes = book.changes();
  return {
    outcomes,
    changes: { ...changes, deletedReceipts: deleted, examinedReceipts: examined, idForms: [...idForms.values()] },
  };
}
