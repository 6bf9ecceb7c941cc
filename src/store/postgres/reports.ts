import { hash } from "node:crypto";
import { carrierMessageKey, carrierMessageKeys, type IdForm } from "../../domain/carrier-message-id.ts";
import type { AppliedReport, CarrierReport } from "../../domain/carrier-report.ts";
import type { Report } from "../../domain/lifecycle.ts";
import type { CarrierIdForm } from "../../domain/plan/changes.ts";
import { planMatches } from "../../domain/plan/matches.ts";
import { planForEach, planReports, type ReportsPlan } from "../../domain/plan/reports.ts";
import { messageFactsFrom, REPORTED_COLUMNS } from "../codecs/message.ts";
import { RECEIPT_COLUMNS, unmatchedReceiptFrom } from "../codecs/receipt.ts";
import type { Row } from "../codecs/row.ts";
import type { ReportStore, Swept } from "../reports.ts";
import type { Database } from "./database.ts";
import { columnsOf, givenRows, listsOf } from "./row-lists.ts";
import type { Session } from "./session.ts";
import { statement } from "./statement.ts";
import { writeChanges } from "./write-changes.ts";

/**
 * The first half of the locks between carriers' answers and receipts: a number that nothing else
 * uses, the bytes of "answ". The second half stands for the carrier's id. A transaction that writes
 * the id of a message holds its lock shared, one that stores a receipt without a message holds it
 * exclusively.
 */
const LOCK = 0x616e_7377;
/**
 * The number of locks between answers and receipts. One for each id would overflow the server's
 * table of locks, which has 6,400 entries by default.
 */
const MAX_LOCKS = 512;

const NAMED_TYPES = { organization_id: "text", id: "text" } as const;
const LOCK_TYPES = { lock: "integer", alone: "boolean" } as const;

// In the order of the parameters.
const holdLocks = statement(
  `SELECT CASE WHEN given.alone THEN pg_advisory_xact_lock(${LOCK}, given.lock)
     ELSE pg_advisory_xact_lock_shared(${LOCK}, given.lock) END
   FROM ${givenRows("given", LOCK_TYPES)}`,
);

/** The columns of a message `m` that reports need and change, with its number `n`. */
const heldColumns = `${columnsOf("m", REPORTED_COLUMNS)}, m.carrier_message_id,
  n.id IS NULL AS is_number_gone`;
const withNumber = "messages m LEFT JOIN phone_numbers n ON n.id = m.phone_number_id";
// In the order of ids, so that two transactions do not deadlock.
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
  `SELECT sequence, ${RECEIPT_COLUMNS.join(", ")} FROM unmatched_receipts WHERE carrier_message_key = ANY ($1)
   ORDER BY sequence FOR UPDATE`,
);
const selectUnexamined = statement<Row>(
  `SELECT sequence, ${RECEIPT_COLUMNS.join(", ")} FROM unmatched_receipts WHERE NOT is_examined AND sequence > $1
   ORDER BY sequence LIMIT $2`,
);
const lockUnexamined = statement<{ sequence: number }>(
  "SELECT sequence FROM unmatched_receipts WHERE sequence = ANY ($1) AND NOT is_examined ORDER BY sequence FOR UPDATE",
);
const selectOpen = statement<Row>(
  "SELECT carrier, min(submitted_at) AS since FROM messages WHERE status = 'sending' GROUP BY carrier",
);
const selectForms = statement<Row>(
  "SELECT carrier, organization_id, form FROM carrier_id_forms WHERE carrier = ANY ($1)",
);
// The messages of processes that are gone or named as silent. One statement reads both tables: a
// process is in the one before its messages are in the other.
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

/**
 * Reports on a database. Calls `onApplied` with the results of this process before its caller has
 * them.
 */
export function createReports(
  { transact }: Database,
  onApplied: (applied: readonly AppliedReport[]) => void,
): ReportStore {
  const memory: ReportMemory = { exactCarriers: new Set(), doubtedUntil: 0 };
  const transactAnd: Transact = async (work) => {
    const result = await transact(work);
    return result();
  };
  const sweep = async (work: (session: Session) => Promise<() => Promise<Swept>>): Promise<Swept> => {
    const swept = await transactAnd(work);
    onApplied(swept.applied);
    return swept;
  };
  return {
    applyReports: async (reports) => {
      const applied = await applyReports(transactAnd, reports, memory);
      onApplied(applied);
      return applied;
    },
    matchReceipts: (request) => sweep((session) => matchReceipts(session, request)),
    settleReceiptTimeouts: (request) => sweep((session) => settleReceiptTimeouts(session, request)),
  };
}

/** What a process remembers from one group of reports to the next. */
type ReportMemory = {
  /** Carriers, with organizations, whose receipts have the ids of the answers; on disk already. */
  readonly exactCarriers: Set<string>;
  /**
   * Until when reports may come again whose first write has an unknown outcome: a moment of
   * `performance.now`.
   */
  doubtedUntil: number;
};

/**
 * How long reports may come again after a write with an unknown outcome, milliseconds: callers
 * retry for minutes.
 */
const IN_DOUBT_MS = 600_000;

/** Thrown to roll a transaction back and run it again with exclusive locks. */
const MUST_BE_ALONE = Symbol("must be alone");

/** Runs a transaction whose result is complete only after the commit. */
type Transact = <Result>(work: (session: Session) => Promise<() => Promise<Result>>) => Promise<Result>;

/**
 * Two round trips to the database. Two processes may write a carrier's answer and a receipt with
 * its id at the same moment, and one of them must see the other: a transaction that stores a
 * receipt without a message holds the locks of its receipts' ids exclusively while it looks once
 * more.
 */
async function applyReports(
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
    memory.doubtedUntil = performance.now() + IN_DOUBT_MS;
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
  // In one order, so that two transactions do not deadlock.
  const sorted = [...locks].sort(([one], [other]) => one - other);
  if (sorted.length > 0) void session.run(holdLocks, ...listsOf(LOCK_TYPES, sorted));
  const [messages, unmatched] = await Promise.all([
    session.all(lockNamed, ...listsOf(NAMED_TYPES, named), ...listsOf({ key: "text", carrier: "text" }, receipts)),
    answers.size === 0 ? [] : session.all(lockReceipts, [...answers]),
  ]);
  const plan = planReports(reports, {
    messages: messages.map(messageFactsFrom),
    receipts: unmatched.map(unmatchedReceiptFrom),
  });
  if (plan.hasUnmatched && !isAlone) throw MUST_BE_ALONE;
  return writePlan(session, plan, memory);
}

/** The second half of the lock of a carrier's id. */
function lockOf(carrierMessageKey: string): number {
  return hash("sha256", carrierMessageKey, "buffer").readUInt16BE(0) % MAX_LOCKS;
}

/** Compares stored receipts with messages: see `planMatch`. */
async function matchReceipts(
  session: Session,
  { now, after, limit }: { now: number; after: string | undefined; limit: number },
): Promise<() => Promise<Swept>> {
  // Open submits are read before the receipts are locked: an answer that is no longer open took the
  // receipts with exactly its id.
  const [rows, openRows] = await Promise.all([
    session.all(selectUnexamined, Number(after ?? 0), limit),
    session.all(selectOpen),
  ]);
  const next = rows.length === limit ? String(rows.at(-1)?.sequence) : undefined;
  if (rows.length === 0) return async () => ({ applied: [], next });
  const receipts = rows.map(unmatchedReceiptFrom);
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
  const isLocked = new Set(locked.map(({ sequence }) => sequence));
  const plan = planMatches({
    now,
    receipts: receipts.filter(({ sequence }) => sequence !== undefined && isLocked.has(sequence)),
    messages: messages.map(messageFactsFrom),
    openSince: new Map(openRows.map((row) => [row.carrier as string, (row.since as number | null) ?? 0])),
    forms: formRows.map((row) => ({
      carrier: row.carrier as string,
      organizationId: row.organization_id as string,
      form: row.form as IdForm,
    })),
  });
  const applied = writePlan(session, plan);
  return async () => ({ applied: await applied(), next });
}

/** Settles the messages of processes that are gone or named in `silent` as submit unconfirmed. */
export async function settleAbandoned(session: Session, silent: readonly string[], at: number, limit: number) {
  const rows = await session.all(lockAbandoned, silent, limit);
  return applyToAll(session, rows, { kind: "submit_unconfirmed", at });
}

async function settleReceiptTimeouts(
  session: Session,
  { sentBefore, at, after, limit }: { sentBefore: number; at: number; after: string | undefined; limit: number },
): Promise<() => Promise<Swept>> {
  const [number = "", id = ""] = after?.split(" ") ?? [];
  const looked = await session.all(selectSent, number, id, sentBefore, limit);
  const last = looked.at(-1);
  const next = last !== undefined && looked.length === limit ? `${last.phone_number_id} ${last.id}` : undefined;
  const late = looked.filter((row) => row.is_late === true).map((row) => [row.organization_id, row.id]);
  const rows = late.length === 0 ? [] : await session.all(lockLate, ...listsOf(NAMED_TYPES, late), sentBefore);
  const applied = applyToAll(session, rows, { kind: "receipt_timeout", at });
  return async () => ({ applied: await applied(), next });
}

function applyToAll(session: Session, rows: readonly Row[], report: Report): () => Promise<AppliedReport[]> {
  return writePlan(session, planForEach(rows.map(messageFactsFrom), report));
}

/** Writes a plan. The results of the reports are known after the commit. */
function writePlan(
  session: Session,
  { changes, outcomes }: Pick<ReportsPlan, "changes" | "outcomes">,
  memory?: ReportMemory,
): () => Promise<AppliedReport[]> {
  const { idForms = [] } = changes;
  const isKnown = ({ carrier, organizationId, form }: CarrierIdForm) =>
    form === "exact" && memory?.exactCarriers.has(`${carrier} ${organizationId}`) === true;
  const unknown = idForms.filter((form) => !isKnown(form));
  const mayBeThere = memory !== undefined && performance.now() < memory.doubtedUntil;
  const healthAfter = writeChanges(session, { ...changes, idForms: unknown }, { mayBeThere });
  return async () => {
    for (const { carrier, organizationId, form } of unknown)
      if (form === "exact") memory?.exactCarriers.add(`${carrier} ${organizationId}`);
    const after = await healthAfter();
    return outcomes.map((outcome) => outcome(after));
  };
}
