import { carrierMessageKey, carrierMessageKeys, compareIds, isSameId } from "../../domain/carrier-message-id.ts";
import type { AppliedReport, CarrierReport } from "../../domain/carrier-report.ts";
import type { HealthChange, HealthCounts } from "../../domain/health.ts";
import { isSubmitUnconfirmed, type Report } from "../../domain/lifecycle.ts";
import { planReport, type ReportedMessage, UNMATCHED } from "../../domain/plan/report.ts";
import { optional, type Row, receiptFrom, reportedFrom } from "../rows.ts";
import type { NewEvent } from "./events.ts";

/** A message that a transaction holds, as reports leave it. */
export type HeldMessage = {
  message: ReportedMessage;
  nextSubmitAt: number | undefined;
  carrierMessageId: string | undefined;
  carrierMessageKey: string | undefined;
  /** Its number was removed. */
  readonly isNumberGone: boolean;
  isChanged: boolean;
};

/** A receipt that fits no message yet. `sequence` is the one of its row; undefined: it has none. */
export type UnmatchedReceipt = {
  readonly sequence: number | undefined;
  readonly carrier: string;
  readonly carrierMessageId: string;
  readonly carrierMessageKey: string;
  readonly organizationId: string;
  readonly report: Report;
  readonly receivedAt: number;
};

/** What a sender's health is to learn, and from which of the group's outcomes for its number on. */
export type HealthOutcome = {
  readonly phoneNumberId: string;
  readonly change: HealthChange;
  readonly at: number;
  /** When its message was submitted. */
  readonly submittedAt: number;
  /** How many outcomes of this number came before it. */
  readonly place: number;
};

/** What reports did, to be written; the counts of health come from the database. */
export type ReportBook = {
  /** Applies a report to the message it means; keeps a receipt that fits none. Gives what it did once health is known. */
  readonly take: (report: CarrierReport) => Outcome;
  /** Applies a report to a message that is held. */
  readonly apply: (held: HeldMessage, report: Report, carrierMessageId: string | undefined, submit?: number) => Outcome;
  /** A receipt fitted no message that is held. */
  readonly hasUnmatched: () => boolean;
  readonly changed: () => HeldMessage[];
  readonly events: readonly NewEvent[];
  readonly outcomes: readonly HealthOutcome[];
  /** Receipts to be kept that have no row yet. */
  readonly kept: () => UnmatchedReceipt[];
  /** Rows of receipts that found their message. */
  readonly followed: readonly number[];
  /** Keys of kept receipts that are to be matched again, as they may be about a message that was answered late, with its carrier. */
  readonly reopened: readonly (readonly [key: string, carrier: string])[];
  /** Carriers whose receipts showed that they keep the ids of the answers, with the organization that reported them or "". */
  readonly exact: ReadonlyMap<string, readonly [carrier: string, organizationId: string]>;
};

/** What a report did, given a sender's counts after each outcome; undefined counts: as they were, or the number is gone. */
export type Outcome = (healthAfter: (outcome: HealthOutcome) => HealthCounts | undefined) => AppliedReport;

/** Applies reports in memory, in order, as if each had been written before the next. */
export function createReportBook(messages: readonly HeldMessage[], receipts: readonly UnmatchedReceipt[]): ReportBook {
  const byId = new Map(messages.map((held) => [`${held.message.organizationId} ${held.message.id}`, held]));
  const byKey = new Map<string, Set<HeldMessage>>();
  const events: NewEvent[] = [];
  const outcomes: HealthOutcome[] = [];
  const learned = new Map<string, number>();
  const followed: number[] = [];
  const reopened: [string, string][] = [];
  const exact = new Map<string, readonly [string, string]>();
  let unmatched: readonly UnmatchedReceipt[] = receipts;
  let hasUnmatched = false;

  const index = (held: HeldMessage) => {
    const key = held.carrierMessageKey;
    if (key !== undefined) byKey.set(key, (byKey.get(key) ?? new Set()).add(held));
  };
  for (const held of messages) index(held);

  const apply: ReportBook["apply"] = (held, report, carrierMessageId, submit) => {
    const { message } = held;
    const { organizationId, phoneNumberId } = message;
    const plan = planReport(message, report, carrierMessageId, held.isNumberGone, submit);
    held.isChanged ||= (plan.progress ?? plan.nextSubmitAt ?? plan.carrierMessageId) !== undefined;
    held.message = { ...message, ...plan.progress };
    held.nextSubmitAt = plan.nextSubmitAt ?? held.nextSubmitAt;
    events.push({ organizationId, event: plan.event });
    const outcome =
      plan.health === undefined || phoneNumberId === undefined
        ? undefined
        : learn(phoneNumberId, plan.health, plan.event.at, plan.submittedAt);
    if (plan.carrierMessageId !== undefined && isSubmitUnconfirmed(message)) {
      for (const key of carrierMessageKeys(plan.carrierMessageId)) reopened.push([key, message.carrier ?? ""]);
    }
    const after = plan.carrierMessageId === undefined ? [] : follow(held, plan.carrierMessageId);
    return (healthAfter) => ({
      ...plan.applied,
      health: outcome && healthAfter(outcome),
      followed: after.map((outcome) => outcome(healthAfter)),
    });
  };

  const learn = (phoneNumberId: string, change: HealthChange, at: number, submittedAt: number): HealthOutcome => {
    const place = learned.get(phoneNumberId) ?? 0;
    learned.set(phoneNumberId, place + 1);
    const outcome = { phoneNumberId, change, at, submittedAt, place };
    outcomes.push(outcome);
    return outcome;
  };

  /** Notes the carrier's id, and applies the receipts that came before anybody knew whose they are. */
  const follow = (held: HeldMessage, carrierMessageId: string): Outcome[] => {
    byKey.get(held.carrierMessageKey ?? "")?.delete(held);
    held.carrierMessageId = carrierMessageId;
    held.carrierMessageKey = carrierMessageKey(carrierMessageId);
    index(held);
    const meant = waitingFor(held.message, carrierMessageId);
    if (meant.length === 0) return [];
    unmatched = unmatched.filter((receipt) => !meant.includes(receipt));
    followed.push(...meant.flatMap(({ sequence }) => sequence ?? []));
    for (const { organizationId } of meant) noteExact(held.message.carrier, organizationId, carrierMessageId);
    return meant.map((receipt) => apply(held, receipt.report, receipt.carrierMessageId));
  };

  const noteExact = (carrier: string | undefined, organizationId: string, id: string) => {
    if (carrier !== undefined && compareIds(id, id)?.isConclusive)
      exact.set(`${carrier} ${organizationId}`, [carrier, organizationId]);
  };

  /** The receipts that have exactly its id. */
  const waitingFor = (
    { carrier, organizationId }: ReportedMessage,
    carrierMessageId: string,
  ): readonly UnmatchedReceipt[] =>
    unmatched.filter(
      (receipt) =>
        receipt.carrier === carrier &&
        isSameId(receipt.carrierMessageId, carrierMessageId) &&
        (receipt.organizationId === "" || receipt.organizationId === organizationId),
    );

  const find = ({ target }: CarrierReport): HeldMessage | undefined => {
    if ("messageId" in target) return byId.get(`${target.organizationId} ${target.messageId}`);
    let newest: HeldMessage | undefined;
    for (const held of byKey.get(carrierMessageKey(target.carrierMessageId)) ?? []) {
      const { carrier, organizationId, id } = held.message;
      if (carrier !== target.carrier || (target.organizationId ?? organizationId) !== organizationId) continue;
      if (!isSameId(held.carrierMessageId ?? "", target.carrierMessageId)) continue;
      if (newest === undefined || id > newest.message.id) newest = held;
    }
    if (newest !== undefined) noteExact(target.carrier, target.organizationId ?? "", target.carrierMessageId);
    return newest;
  };

  const keep = ({ target, report, receivedAt }: CarrierReport) => {
    if (!("carrierMessageId" in target) || !["buffered", "delivered", "failed"].includes(report.kind)) return;
    hasUnmatched = true;
    const { carrier, carrierMessageId, organizationId = "" } = target;
    const key = carrierMessageKey(carrierMessageId);
    const isKnown = unmatched.some(
      (known) =>
        known.carrierMessageId === carrierMessageId &&
        known.carrier === carrier &&
        known.organizationId === organizationId &&
        known.report.kind === report.kind,
    );
    if (isKnown) return;
    const kept = { carrier, carrierMessageId, carrierMessageKey: key, organizationId, report };
    unmatched = [...unmatched, { ...kept, sequence: undefined, receivedAt: receivedAt ?? report.at }];
  };

  return {
    apply,
    take: (given) => {
      const held = find(given);
      if (held === undefined) {
        keep(given);
        return () => UNMATCHED;
      }
      const { target, report, submit } = given;
      return apply(held, report, "carrierMessageId" in target ? target.carrierMessageId : undefined, submit);
    },
    hasUnmatched: () => hasUnmatched,
    changed: () => messages.filter(({ isChanged }) => isChanged),
    events,
    outcomes,
    kept: () => unmatched.filter(({ sequence }) => sequence === undefined),
    followed,
    reopened,
    exact,
  };
}

/** A message from a row with the columns that reports need and change. */
export function heldFrom(row: Row): HeldMessage {
  return {
    message: reportedFrom(row),
    nextSubmitAt: optional(row.next_submit_at),
    carrierMessageId: optional(row.carrier_message_id),
    carrierMessageKey: optional(row.carrier_message_key),
    isNumberGone: row.is_number_gone as boolean,
    isChanged: false,
  };
}

/** A receipt from its row. */
export function unmatchedFrom(row: Row): UnmatchedReceipt {
  return {
    sequence: row.sequence as number,
    carrier: row.carrier as string,
    carrierMessageId: row.carrier_message_id as string,
    carrierMessageKey: row.carrier_message_key as string,
    organizationId: row.organization_id as string,
    report: receiptFrom(row),
    receivedAt: row.received_at as number,
  };
}
