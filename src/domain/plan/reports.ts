import { carrierMessageKey, carrierMessageKeys, compareIds, isSameId } from "../carrier-message-id.ts";
import type { AppliedReport, CarrierReport } from "../carrier-report.ts";
import { isSubmitUnconfirmed, type Report } from "../lifecycle.ts";
import type {
  CarrierIdForm,
  CarrierKey,
  Changes,
  HealthAfter,
  HealthOutcome,
  MessageChange,
  OwnedEvent,
  UnmatchedReceipt,
} from "./changes.ts";
import { planReport, type ReportedMessage, UNMATCHED } from "./report.ts";

/** The facts of a message that reports need. */
export type MessageFacts = {
  readonly message: ReportedMessage;
  readonly carrierMessageId: string | undefined;
  /** The message's number was removed. */
  readonly isNumberGone: boolean;
};

/** The facts that a group of reports needs. */
export type ReportFacts = {
  /** The messages that the reports name, by their ids or the carriers' ids. */
  readonly messages: readonly MessageFacts[];
  /** Stored receipts with the keys of the carriers' ids in the reports. */
  readonly receipts: readonly UnmatchedReceipt[];
};

/** The effect of reports: the changes, and each report's outcome once the health is stored. */
export type ReportsPlan = {
  readonly changes: Changes;
  readonly outcomes: readonly ReportOutcome[];
  /** At least one receipt matches none of the messages. */
  readonly hasUnmatched: boolean;
};

/** Gives the effect of a report from the sender's counts after its outcome. */
export type ReportOutcome = (healthAfter: HealthAfter) => AppliedReport;

/** Plans the effect of reports in order, as if each were written before the next. */
export function planReports(reports: readonly CarrierReport[], { messages, receipts }: ReportFacts): ReportsPlan {
  const book = new ReportBook(messages, receipts);
  const outcomes = reports.map((report) => book.take(report));
  return { changes: book.changes(), outcomes, hasUnmatched: book.hasUnmatched };
}

/** Plans the same report for each message. */
export function planForEach(messages: readonly MessageFacts[], report: Report): ReportsPlan {
  const book = new ReportBook(messages, []);
  const outcomes = messages.map(({ message }) => book.applyTo(message, report));
  return { changes: book.changes(), outcomes, hasUnmatched: false };
}

/** A message after the reports so far, and their changes to it. */
type Entry = {
  message: ReportedMessage;
  carrierMessageId: string | undefined;
  readonly isNumberGone: boolean;
  change: MessageChange | undefined;
};

/** Applies reports in memory. */
export class ReportBook {
  hasUnmatched = false;
  private readonly byId = new Map<string, Entry>();
  private readonly byKey = new Map<string, Set<Entry>>();
  private readonly events: OwnedEvent[] = [];
  private readonly health: HealthOutcome[] = [];
  private readonly places = new Map<string, number>();
  private readonly deleted: number[] = [];
  private readonly reopened: CarrierKey[] = [];
  private readonly forms = new Map<string, CarrierIdForm>();
  private unmatched: readonly UnmatchedReceipt[];

  constructor(messages: readonly MessageFacts[], receipts: readonly UnmatchedReceipt[]) {
    this.unmatched = receipts;
    for (const { message, carrierMessageId, isNumberGone } of messages) {
      if (this.byId.has(keyOf(message))) continue;
      const entry = { message, carrierMessageId, isNumberGone, change: undefined };
      this.byId.set(keyOf(message), entry);
      this.index(entry);
    }
  }

  /** Applies a report to the message that it names; stores a receipt that matches none. */
  take(carrierReport: CarrierReport): ReportOutcome {
    const entry = this.find(carrierReport);
    if (entry === undefined) {
      this.store(carrierReport);
      return () => UNMATCHED;
    }
    const { target, report, submit } = carrierReport;
    return this.apply(entry, report, "carrierMessageId" in target ? target.carrierMessageId : undefined, submit);
  }

  /** Applies a report to one of the messages; `carrierMessageId` is the id in the report. */
  applyTo(message: ReportedMessage, report: Report, carrierMessageId?: string): ReportOutcome {
    const entry = this.byId.get(keyOf(message));
    if (entry === undefined) throw new Error("A report names a message that its transaction did not read.");
    return this.apply(entry, report, carrierMessageId);
  }

  changes(): Changes {
    return {
      changed: [...this.byId.values()].flatMap(({ change }) => change ?? []),
      events: this.events,
      health: this.health,
      newReceipts: this.unmatched.filter(({ sequence }) => sequence === undefined),
      deletedReceipts: this.deleted,
      reopenedReceipts: this.reopened,
      idForms: [...this.forms.values()],
    };
  }

  private index(entry: Entry): void {
    if (entry.carrierMessageId === undefined) return;
    const key = carrierMessageKey(entry.carrierMessageId);
    this.byKey.set(key, (this.byKey.get(key) ?? new Set()).add(entry));
  }

  private apply(entry: Entry, report: Report, namedId: string | undefined, submit?: number): ReportOutcome {
    const { message, isNumberGone } = entry;
    const { organizationId, id, phoneNumberId } = message;
    const plan = planReport(message, report, namedId, isNumberGone, submit);
    const { progress, nextSubmitAt, carrierMessageId } = plan;
    if ((progress ?? nextSubmitAt ?? carrierMessageId) !== undefined) {
      const { change } = entry;
      entry.change = {
        organizationId,
        id,
        progress: progress ?? change?.progress,
        nextSubmitAt: nextSubmitAt ?? change?.nextSubmitAt,
        carrierMessageId: carrierMessageId ?? change?.carrierMessageId,
      };
    }
    entry.message = { ...message, ...progress };
    this.events.push({ organizationId, event: plan.event });
    const outcome =
      plan.health === undefined || phoneNumberId === undefined
        ? undefined
        : this.recordOutcome({ phoneNumberId, change: plan.health, at: plan.event.at, submittedAt: plan.submittedAt });
    if (carrierMessageId !== undefined && isSubmitUnconfirmed(message)) {
      // Stored receipts with another form of this id were compared before the message had its id.
      for (const key of carrierMessageKeys(carrierMessageId))
        this.reopened.push({ carrierMessageKey: key, carrier: message.carrier ?? "" });
    }
    const followed = carrierMessageId === undefined ? [] : this.applyEarlyReceipts(entry, carrierMessageId);
    return (healthAfter) => ({
      ...plan.applied,
      health: outcome && healthAfter(outcome),
      followed: followed.map((each) => each(healthAfter)),
    });
  }

  private recordOutcome(outcome: Omit<HealthOutcome, "place">): HealthOutcome {
    const place = this.places.get(outcome.phoneNumberId) ?? 0;
    this.places.set(outcome.phoneNumberId, place + 1);
    const placed = { ...outcome, place };
    this.health.push(placed);
    return placed;
  }

  /** Applies the receipts that arrived before the carrier's answer with their id. */
  private applyEarlyReceipts(entry: Entry, carrierMessageId: string): ReportOutcome[] {
    if (entry.carrierMessageId !== undefined) this.byKey.get(carrierMessageKey(entry.carrierMessageId))?.delete(entry);
    entry.carrierMessageId = carrierMessageId;
    this.index(entry);
    const { carrier, organizationId } = entry.message;
    const matching = this.unmatched.filter(
      (receipt) =>
        receipt.carrier === carrier &&
        isSameId(receipt.carrierMessageId, carrierMessageId) &&
        (receipt.organizationId === "" || receipt.organizationId === organizationId),
    );
    if (matching.length === 0) return [];
    this.unmatched = this.unmatched.filter((receipt) => !matching.includes(receipt));
    for (const { sequence, organizationId: reporter } of matching) {
      if (sequence !== undefined) this.deleted.push(sequence);
      this.noteExact(carrier, reporter, carrierMessageId);
    }
    return matching.map((receipt) => this.apply(entry, receipt.report, receipt.carrierMessageId));
  }

  private noteExact(carrier: string | undefined, organizationId: string, id: string): void {
    if (carrier === undefined || !compareIds(id, id)?.isConclusive) return;
    this.forms.set(`${carrier} ${organizationId}`, { carrier, organizationId, form: "exact" });
  }

  private find({ target }: CarrierReport): Entry | undefined {
    if ("messageId" in target) return this.byId.get(`${target.organizationId} ${target.messageId}`);
    let newest: Entry | undefined;
    for (const entry of this.byKey.get(carrierMessageKey(target.carrierMessageId)) ?? []) {
      const { carrier, organizationId, id } = entry.message;
      if (carrier !== target.carrier || (target.organizationId ?? organizationId) !== organizationId) continue;
      if (!isSameId(entry.carrierMessageId ?? "", target.carrierMessageId)) continue;
      if (newest === undefined || id > newest.message.id) newest = entry;
    }
    if (newest !== undefined) this.noteExact(target.carrier, target.organizationId ?? "", target.carrierMessageId);
    return newest;
  }

  private store({ target, report, receivedAt }: CarrierReport): void {
    if (!("carrierMessageId" in target) || !RECEIPT_KINDS.has(report.kind)) return;
    this.hasUnmatched = true;
    const { carrier, carrierMessageId, organizationId = "" } = target;
    const isStored = this.unmatched.some(
      (stored) =>
        stored.carrierMessageId === carrierMessageId &&
        stored.carrier === carrier &&
        stored.organizationId === organizationId &&
        stored.report.kind === report.kind,
    );
    if (isStored) return;
    const id = { carrier, carrierMessageId, carrierMessageKey: carrierMessageKey(carrierMessageId), organizationId };
    this.unmatched = [...this.unmatched, { ...id, report, sequence: undefined, receivedAt: receivedAt ?? report.at }];
  }
}

const RECEIPT_KINDS: ReadonlySet<Report["kind"]> = new Set(["buffered", "delivered", "failed"]);

function keyOf({ organizationId, id }: Pick<ReportedMessage, "organizationId" | "id">): string {
  return `${organizationId} ${id}`;
}
