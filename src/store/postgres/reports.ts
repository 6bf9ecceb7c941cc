import { hash } from "node:crypto";
import { carrierMessageKey, carrierMessageKeys, type IdForm } from "../../domain/carrier-message-id.ts";
import type { AppliedReport, CarrierReport } from "../../domain/carrier-report.ts";
import type { Report } from "../../domain/lifecycle.ts";
import { type MatchPlan, planMatch } from "../../domain/plan/match-receipt.ts";
import type { Swept } from "../delivery-records.ts";
import { REPORTED_COLUMNS, type Row } from "../rows.ts";
import { noteEvents } from "./events.ts";
import { recordHealth } from "./health.ts";
import {
  createReportBook,
  type HeldMessage,
  heldFrom,
  type Outcome,
  type ReportBook,
  type UnmatchedReceipt,
  unmatchedFrom,
} from "./report-book.ts";
import { columnsOf, givenRows, listsOf } from "./row-lists.ts";
import type { Session } from "./session.ts";
import { statement } from "./statement.ts";

/**
 * The first half of the locks between carriers' answers and receipts: any number that nobody else takes, here the bytes of "answ".
 * The second half stands for the carrier's id. A transaction that writes a message's id holds its lock together with others, one
 * that keeps a receipt without a message holds it alone.
 */
const LOCK = 0x616e_7377;
/**
 * Locks between answers and receipts. One for each id would be too many for the server, whose table of locks has 6,400 entries by
 * default: a process holds no more than these at a time.
 */
const MAX_LOCKS = 512;

const NAMED_TYPES = { organization_id: "text", id: "text" } as const;
const CHANGED_TYPES = {
  organization_id: "text",
  id: "text",
  status: "text",
  sent_at: "bigint",
  completed_at: "bigint",
  error_reason: "integer",
  error_detail: "text",
  next_submit_at: "bigint",
  carrier_message_id: "text",
  carrier_message_key: "text",
} as const;
const RECEIPT_TYPES = {
  carrier: "text",
  carrier_message_key: "text",
  carrier_message_id: "text",
  organization_id: "text",
  kind: "text",
  occurred_at: "bigint",
  carrier_code: "text",
  error_reason: "integer",
  detail: "text",
  received_at: "bigint",
} as const;

const LOCK_TYPES = { lock: "integer", alone: "boolean" } as const;
const FORM_TYPES = { carrier: "text", organization_id: "text", form: "text" } as const;

// In the order in which they are given.
const holdLocks = statement(
  `SELECT CASE WHEN given.alone THEN pg_advisory_xact_lock(${LOCK}, given.lock)
     ELSE pg_advisory_xact_lock_shared(${LOCK}, given.lock) END
   FROM ${givenRows("given", LOCK_TYPES)}`,
);

/** The columns of a message `m` that reports need and change, with its number `n`. */
const heldColumns = `${columnsOf("m", REPORTED_COLUMNS)}, m.next_submit_at, m.carrier_message_id, m.carrier_message_key,
  n.id IS NULL AS is_number_gone`;
const withNumber = "messages m LEFT JOIN phone_numbers n ON n.id = m.phone_number_id";
// In the order of ids, so that no two transactions wait for each other.
const lockNamed = statement<Row>(
  `SELECT ${heldColumns} FROM ${withNumber}
   WHERE (m.organization_id, m.id) IN (
     SELECT given.organization_id, given.id FROM ${givenRows("given", NAMED_TYPES)}
     UNION
     SELECT c.organization_id, c.id FROM unnest($3::text[], $4::text[]) AS receipt (key, carrier)
       JOIN messages c ON c.carrier_message_key = receipt.key AND c.carrier = receipt.carrier
   )
   ORDER BY m.organization_id, m.id FOR UPDATE OF m`,
);
const lockReceipts = statement<Row>(
  `SELECT sequence, ${Object.keys(RECEIPT_TYPES).join(", ")} FROM unmatched_receipts WHERE carrier_message_key = ANY ($1)
   ORDER BY sequence FOR UPDATE`,
);
const insertReceipts = statement(
  `INSERT INTO unmatched_receipts (${Object.keys(RECEIPT_TYPES).join(", ")})
   SELECT ${Object.keys(RECEIPT_TYPES).join(", ")} FROM ${givenRows("given", RECEIPT_TYPES)} ON CONFLICT DO NOTHING`,
);
const selectUnexamined = statement<Row>(
  `SELECT sequence, ${Object.keys(RECEIPT_TYPES).join(", ")} FROM unmatched_receipts WHERE NOT is_examined AND sequence > $1
   ORDER BY sequence LIMIT $2`,
);
const lockUnexamined = statement<{ sequence: number }>(
  "SELECT sequence FROM unmatched_receipts WHERE sequence = ANY ($1) AND NOT is_examined ORDER BY sequence FOR UPDATE",
);
const setExamined = statement("UPDATE unmatched_receipts SET is_examined = true WHERE sequence = ANY ($1)");
const reopenReceipts = statement(
  `UPDATE unmatched_receipts r SET is_examined = false FROM unnest($1::text[], $2::text[]) AS given (key, carrier)
   WHERE r.carrier_message_key = given.key AND r.carrier = given.carrier AND r.is_examined`,
);
const selectOpen = statement<Row>(
  "SELECT carrier, min(submitted_at) AS since FROM messages WHERE status = 'sending' GROUP BY carrier",
);
const selectForms = statement<Row>(
  "SELECT carrier, organization_id, form FROM carrier_id_forms WHERE carrier = ANY ($1)",
);
const putForms = statement(
  `INSERT INTO carrier_id_forms (carrier, organization_id, form)
   SELECT carrier, organization_id, form FROM ${givenRows("given", FORM_TYPES)} ORDER BY carrier, organization_id
   ON CONFLICT (carrier, organization_id) DO UPDATE SET form = excluded.form WHERE carrier_id_forms.form <> excluded.form`,
);
const deleteReceipts = statement("DELETE FROM unmatched_receipts WHERE sequence = ANY ($1)");
const update = statement(
  `UPDATE messages m SET status = given.status, sent_at = given.sent_at, completed_at = given.completed_at,
     error_reason = given.error_reason, error_detail = given.error_detail, next_submit_at = given.next_submit_at,
     carrier_message_id = given.carrier_message_id, carrier_message_key = given.carrier_message_key
   FROM ${givenRows("given", CHANGED_TYPES)} WHERE m.organization_id = given.organization_id AND m.id = given.id`,
);
// Those of processes that are not there any more, or that are named as silent. One look at both tables: a process is in the one
// before its messages are in the other.
const lockAbandoned = statement<Row>(
  `SELECT ${heldColumns} FROM ${withNumber}
   WHERE m.status = 'sending' AND NOT EXISTS (
     SELECT FROM processes p WHERE p.owner = m.owner AND p.owner <> ALL ($1)
   )
   ORDER BY m.organization_id, m.id LIMIT $2 FOR UPDATE OF m SKIP LOCKED`,
);
const selectSent = statement<Row>(
  `SELECT phone_number_id, id, organization_id, sent_at < $3 AS is_late FROM messages
   WHERE status = 'sent' AND (phone_number_id, id) > ($1, $2) ORDER BY phone_number_id, id LIMIT $4`,
);
const lockLate = statement<Row>(
  `SELECT ${heldColumns} FROM ${withNumber} JOIN ${givenRows("given", NAMED_TYPES)}
     ON m.organization_id = given.organization_id AND m.id = given.id
   WHERE m.status = 'sent' AND m.sent_at < $3
   ORDER BY m.organization_id, m.id FOR UPDATE OF m SKIP LOCKED`,
);

/** What a process remembers from one group of reports to the next. */
export type ReportMemory = {
  /** Carriers whose form is on disk already. */
  readonly exactCarriers: Set<string>;
  /** Until when reports may be written again whose first writing was not known to fail: a moment of `performance.now`. */
  doubtedUntil: number;
};

/** How long reports may come again after a writing whose outcome is not known, milliseconds: whoever reports tries for minutes. */
const IN_DOUBT = 600_000;

/** Thrown to take a transaction back and begin it anew, alone. */
const MUST_BE_ALONE = Symbol("must be alone");

/** Runs a transaction that gives what it did when it has been committed. */
type Transact = <Result>(work: (session: Session) => Promise<() => Promise<Result>>) => Promise<Result>;

/**
 * Applies reports, in two round trips to the database. A carrier's answer that tells a message's id and a receipt that names it may
 * be written by two processes at the same moment, and one of them must see the other: a transaction that keeps a receipt that fits
 * no message holds the locks of its receipts' ids alone while it looks once more.
 */
export async function applyReports(
  transact: Transact,
  reports: readonly CarrierReport[],
  memory: ReportMemory,
): Promise<AppliedReport[]> {
  if (reports.length === 0) return [];
  const applyWhen = (isAlone: boolean) => transact((session) => applyInTransaction(session, reports, isAlone, memory));
  try {
    return await applyWhen(false).catch((error) => {
      if (error !== MUST_BE_ALONE) throw error;
      return applyWhen(true);
    });
  } catch (error) {
    memory.doubtedUntil = performance.now() + IN_DOUBT;
    throw error;
  }
}

async function applyInTransaction(
  session: Session,
  reports: readonly CarrierReport[],
  isAlone: boolean,
  memory: ReportMemory,
) {
  const named: unknown[][] = [];
  const receipts: unknown[][] = [];
  const answers = new Set<string>();
  const locks = new Map<number, boolean>();
  for (const { target, report } of reports) {
    if ("messageId" in target) named.push([target.organizationId, target.messageId]);
    else {
      const key = carrierMessageKey(target.carrierMessageId);
      receipts.push([key, target.carrier]);
      if (isAlone) locks.set(lockOf(key), true);
    }
    if (report.kind !== "accepted") continue;
    const key = carrierMessageKey(report.carrierMessageId);
    answers.add(key);
    locks.set(lockOf(key), locks.get(lockOf(key)) ?? false);
  }
  // In one order, so that no two transactions wait for each other.
  const sorted = [...locks].sort(([one], [other]) => one - other);
  if (sorted.length > 0) void session.run(holdLocks, ...listsOf(LOCK_TYPES, sorted));
  const [messages, unmatched] = await Promise.all([
    session.all(lockNamed, ...listsOf(NAMED_TYPES, named), ...listsOf({ key: "text", carrier: "text" }, receipts)),
    answers.size === 0 ? [] : session.all(lockReceipts, [...answers]),
  ]);
  const book = createReportBook(messages.map(heldFrom), unmatched.map(unmatchedFrom));
  const outcomes = reports.map(book.take);
  if (book.hasUnmatched() && !isAlone) throw MUST_BE_ALONE;
  return writeBook(session, book, outcomes, memory);
}

/** The second half of the lock of a carrier's id. */
function lockOf(carrierMessageKey: string): number {
  return hash("sha256", carrierMessageKey, "buffer").readUInt16BE(0) % MAX_LOCKS;
}

/** Matches receipts that are kept: see `planMatch`. */
export async function matchReceipts(
  session: Session,
  { now, after, most }: { now: number; after: string | undefined; most: number },
): Promise<() => Promise<Swept>> {
  // What is open is read before the receipts are locked: an answer that is not open any more took those with exactly its id.
  const [rows, openRows] = await Promise.all([
    session.all(selectUnexamined, Number(after ?? 0), most),
    session.all(selectOpen),
  ]);
  const next = rows.length === most ? String(rows.at(-1)?.sequence) : undefined;
  if (rows.length === 0) return async () => ({ applied: [], next });
  const receipts = rows.map(unmatchedFrom);
  const keys = receipts.flatMap(({ carrier, carrierMessageId }) =>
    carrierMessageKeys(carrierMessageId).map((key) => [key, carrier]),
  );
  const [messages, locked, formRows] = await Promise.all([
    session.all(lockNamed, ...listsOf(NAMED_TYPES, []), ...listsOf({ key: "text", carrier: "text" }, keys)),
    session.all(
      lockUnexamined,
      rows.map((row) => row.sequence as number),
    ),
    session.all(selectForms, [...new Set(receipts.map(({ carrier }) => carrier))]),
  ]);
  const held = messages.map(heldFrom);
  const open = new Map(openRows.map((row) => [row.carrier as string, (row.since as number | null) ?? 0]));
  const shown = new Map(formRows.map((row) => [`${row.carrier} ${row.organization_id}`, row.form as IdForm]));
  const isLocked = new Set(locked.map(({ sequence }) => sequence));
  const book = createReportBook(held, []);
  const outcomes: Outcome[] = [];
  const forms = new Map<string, unknown[]>();
  const matched: number[] = [];
  const examined: number[] = [];
  for (const receipt of receipts) {
    const { sequence, carrier, organizationId, carrierMessageId, report } = receipt;
    if (sequence === undefined || !isLocked.has(sequence)) continue;
    const name = `${carrier} ${organizationId}`;
    const plan = planFor(receipt, held, { now, openSince: open.get(carrier), shown: shown.get(name) });
    if (plan.kind === "none") examined.push(sequence);
    if (plan.kind !== "match") continue;
    matched.push(sequence);
    if (plan.shown !== undefined) {
      shown.set(name, plan.shown);
      forms.set(name, [carrier, organizationId, plan.shown]);
    }
    outcomes.push(book.apply(plan.candidate, report, carrierMessageId));
  }
  if (matched.length > 0) void session.run(deleteReceipts, matched);
  if (examined.length > 0) void session.run(setExamined, examined);
  if (forms.size > 0) void session.run(putForms, ...listsOf(FORM_TYPES, [...forms.values()]));
  const applied = writeBook(session, book, outcomes);
  return async () => ({ applied: await applied(), next });
}

function planFor(
  { carrier, organizationId, carrierMessageId, receivedAt }: UnmatchedReceipt,
  held: readonly HeldMessage[],
  facts: { readonly now: number; readonly openSince: number | undefined; readonly shown: IdForm | undefined },
): MatchPlan<HeldMessage> {
  const candidates = held.filter(
    ({ message }) =>
      message.carrier === carrier && (organizationId === "" || message.organizationId === organizationId),
  );
  return planMatch(carrierMessageId, candidates, { receivedAt, ...facts });
}

/** Settles, as never answered, what processes are sending that are not there any more or are named as silent. */
export async function settleAbandoned(session: Session, silent: readonly string[], at: number, most: number) {
  const rows = await session.all(lockAbandoned, silent, most);
  return applyToAll(session, rows, { kind: "submit_unconfirmed", at });
}

/** Settles what was sent before a moment and that no receipt came for, among `most` messages from a cursor on. */
export async function settleReceiptTimeouts(
  session: Session,
  { sentBefore, at, after, most }: { sentBefore: number; at: number; after: string | undefined; most: number },
): Promise<() => Promise<Swept>> {
  const [number = "", id = ""] = after?.split(" ") ?? [];
  const looked = await session.all(selectSent, number, id, sentBefore, most);
  const last = looked.at(-1);
  const next = last !== undefined && looked.length === most ? `${last.phone_number_id} ${last.id}` : undefined;
  const late = looked.filter((row) => row.is_late === true).map((row) => [row.organization_id, row.id]);
  const rows = late.length === 0 ? [] : await session.all(lockLate, ...listsOf(NAMED_TYPES, late), sentBefore);
  const applied = applyToAll(session, rows, { kind: "receipt_timeout", at });
  return async () => ({ applied: await applied(), next });
}

function applyToAll(session: Session, rows: readonly Row[], report: Report): () => Promise<AppliedReport[]> {
  const messages = rows.map(heldFrom);
  const book = createReportBook(messages, []);
  const outcomes = messages.map((held) => book.apply(held, report, undefined));
  return writeBook(session, book, outcomes);
}

/** Writes what a book has; what it did is known when the transaction has been committed. */
function writeBook(
  session: Session,
  book: ReportBook,
  outcomes: readonly Outcome[],
  { exactCarriers, doubtedUntil }: ReportMemory = { exactCarriers: new Set(), doubtedUntil: 0 },
): () => Promise<AppliedReport[]> {
  const changed = book.changed();
  if (changed.length > 0) void session.run(update, ...listsOf(CHANGED_TYPES, changed.map(changedValues)));
  noteEvents(session, book.events, performance.now() < doubtedUntil);
  if (book.followed.length > 0) void session.run(deleteReceipts, book.followed);
  if (book.reopened.length > 0) {
    void session.run(reopenReceipts, ...listsOf({ key: "text", carrier: "text" }, book.reopened));
  }
  const exact = [...book.exact].filter(([name]) => !exactCarriers.has(name));
  const exactForms = exact.map(([, [carrier, organizationId]]) => [carrier, organizationId, "exact"]);
  if (exactForms.length > 0) void session.run(putForms, ...listsOf(FORM_TYPES, exactForms));
  const kept = book.kept().map((receipt) => {
    const { carrier, carrierMessageKey, carrierMessageId, organizationId, report, receivedAt } = receipt;
    const code = "carrierCode" in report ? report.carrierCode : undefined;
    const error = "error" in report ? report.error : undefined;
    const id = [carrier, carrierMessageKey, carrierMessageId, organizationId];
    return [...id, report.kind, report.at, code, error?.reason, error?.detail, receivedAt];
  });
  if (kept.length > 0) void session.run(insertReceipts, ...listsOf(RECEIPT_TYPES, kept));
  const healthAfter = recordHealth(session, book.outcomes);
  return async () => {
    for (const [name] of exact) exactCarriers.add(name);
    const after = await healthAfter();
    return outcomes.map((outcome) => outcome(after));
  };
}

function changedValues({ message, nextSubmitAt, carrierMessageId, carrierMessageKey }: HeldMessage): unknown[] {
  const { organizationId, id, status, sentAt, completedAt, error } = message;
  const progress = [organizationId, id, status, sentAt, completedAt, error?.reason, error?.detail];
  return [...progress, nextSubmitAt, carrierMessageId, carrierMessageKey];
}
