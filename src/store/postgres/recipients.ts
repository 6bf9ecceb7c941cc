import type { RecipientFacts, RecipientKey, StickyMapping } from "../../domain/recipient.ts";
import type { AcceptReads } from "../accept.ts";
import { mappingFrom, optOutFrom } from "../codecs/recipient.ts";
import { optional, type Row } from "../codecs/row.ts";
import { type Continued, type Counted, LIST_SCAN } from "../pages.ts";
import type { MappingList, MappingQuery, OptOut, OptOutQuery, RecipientStore } from "../recipients.ts";
import type { Database } from "./database.ts";
import { conditions, counted, statementFor } from "./lists.ts";
import { byText, givenRows, listsOf } from "./row-lists.ts";
import type { Session } from "./session.ts";
import { statement } from "./statement.ts";

const MAPPING_TYPES = {
  organization_id: "text",
  messaging_profile_id: "text",
  '"to"': "text",
  phone_number_id: "text",
  profile_generation: "integer",
  number_generation: "integer",
  last_message_at: "bigint",
} as const;
const READ_TYPES = {
  organization_id: "text",
  messaging_profile_id: "text",
  '"to"': "text",
  sticky: "boolean",
  place: "integer",
} as const;

const mappingColumns = Object.keys(MAPPING_TYPES).join(", ");
const optOutColumns = 'organization_id, messaging_profile_id, "to", phone_number, keyword, created_at';
const ofRecipient = 'WHERE organization_id = $1 AND messaging_profile_id = $2 AND "to" = $3';

/**
 * The columns that `factsFrom` reads, of a recipient joined as `o` (its opt-out) and `m` (its
 * mapping).
 */
export const FACT_COLUMNS = `o."to" IS NOT NULL AS opted_out, m.phone_number_id AS sticky_number_id, m.profile_generation,
  m.number_generation, m.last_message_at`;

const selectFacts = statement<Row>(
  `SELECT g.place, ${FACT_COLUMNS} FROM ${givenRows("g", READ_TYPES)}
     LEFT JOIN opt_outs o ON o.organization_id = g.organization_id
       AND o.messaging_profile_id = g.messaging_profile_id AND o."to" = g."to"
     LEFT JOIN sticky_mappings m ON g.sticky AND m.organization_id = g.organization_id
       AND m.messaging_profile_id = g.messaging_profile_id AND m."to" = g."to"
   WHERE o."to" IS NOT NULL OR m."to" IS NOT NULL`,
);
const putMappingRows = statement(
  `INSERT INTO sticky_mappings (${mappingColumns}) SELECT ${mappingColumns} FROM ${givenRows("given", MAPPING_TYPES)}
   ON CONFLICT (organization_id, messaging_profile_id, "to") DO UPDATE SET phone_number_id = excluded.phone_number_id,
     profile_generation = excluded.profile_generation, number_generation = excluded.number_generation,
     last_message_at = excluded.last_message_at`,
);
const deleteMapping = statement<Row>(`DELETE FROM sticky_mappings ${ofRecipient} RETURNING ${mappingColumns}`);
const scan = `FROM sticky_mappings WHERE organization_id = $1 AND messaging_profile_id = $2 AND "to" > $3
  ORDER BY "to" LIMIT $4`;
const lastScanned = statement<Row>(`SELECT max("to") AS "to", count(*) AS count FROM (SELECT "to" ${scan}) scanned`);
const insertOptOut = statement(
  `INSERT INTO opt_outs (${optOutColumns}) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`,
);
const selectOptOut = statement<Row>(`SELECT ${optOutColumns} FROM opt_outs ${ofRecipient}`);
const deleteOptOut = statement<Row>(`DELETE FROM opt_outs ${ofRecipient} RETURNING ${optOutColumns}`);

/** Mappings and opt-outs on a database. */
export function createRecipients(database: Database): RecipientStore {
  const { read, transact } = database;
  return {
    readRecipient: (key) => readRecipient(database, key),
    listMappings: (list, query) => read((session) => listMappings(session, list, query)),
    putMapping: (mapping) => transact(async (session) => putMappings(session, [mapping])),
    removeMapping: (key) => removeMapping(database, key),
    listOptOuts: (organizationId, query) => read((session) => listOptOuts(session, organizationId, query)),
    addOptOut: (optOut) => transact((session) => addOptOut(session, optOut)),
    removeOptOut: (key) => removeOptOut(database, key),
  };
}

/** The facts of these recipients, in order. */
export async function readRecipients(
  session: Session,
  recipients: AcceptReads["recipients"],
): Promise<RecipientFacts[]> {
  if (recipients.length === 0) return [];
  const given = recipients.map(({ organizationId, messagingProfileId, to, sticky }, place) => {
    return [organizationId, messagingProfileId, to, sticky, place];
  });
  const facts: RecipientFacts[] = recipients.map(() => ({ optedOut: false, mapping: undefined }));
  for (const row of await session.all(selectFacts, ...listsOf(READ_TYPES, given))) {
    const place = row.place as number;
    facts[place] = factsFrom(row, recipients[place] as RecipientKey);
  }
  return facts;
}

/** The facts of a recipient, from a row with `FACT_COLUMNS`. */
export function factsFrom(row: Row, { organizationId, messagingProfileId, to }: RecipientKey): RecipientFacts {
  const phoneNumberId = optional<string>(row.sticky_number_id);
  if (phoneNumberId === undefined) return { optedOut: row.opted_out as boolean, mapping: undefined };
  const mapping = {
    organizationId,
    messagingProfileId,
    to,
    phoneNumberId,
    profileGeneration: row.profile_generation as number,
    numberGeneration: row.number_generation as number,
    lastMessageAt: row.last_message_at as number,
  };
  return { optedOut: row.opted_out as boolean, mapping };
}

async function readRecipient(session: Session, key: RecipientKey): Promise<RecipientFacts> {
  const [facts] = await readRecipients(session, [{ ...key, sticky: true }]);
  return facts as RecipientFacts;
}

/** Writes mappings; of several for one recipient the last one. */
export function putMappings(session: Session, mappings: readonly StickyMapping[]): void {
  const last = new Map(mappings.map((mapping) => [recipientText(mapping), mapping]));
  if (last.size === 0) return;
  const rows = [...last.values()]
    .sort(byText(recipientText))
    .map((m) => [
      m.organizationId,
      m.messagingProfileId,
      m.to,
      m.phoneNumberId,
      m.profileGeneration,
      m.numberGeneration,
      m.lastMessageAt,
    ]);
  void session.run(putMappingRows, ...listsOf(MAPPING_TYPES, rows));
}

async function removeMapping(
  session: Session,
  { organizationId, messagingProfileId, to }: RecipientKey,
): Promise<StickyMapping | undefined> {
  const row = await session.get(deleteMapping, organizationId, messagingProfileId, to);
  return row === undefined ? undefined : mappingFrom(row);
}

/** Needs one snapshot of the database. */
async function listMappings(
  session: Session,
  list: MappingList,
  query: MappingQuery,
): Promise<Continued<StickyMapping>> {
  const scanned = [list.organizationId, list.messagingProfileId, query.after ?? "", LIST_SCAN] as const;
  // The first five parameters are those of the scan and the page.
  const where = conditions(
    [
      ["m.profile_generation = ?", list.profileGeneration],
      ["m.last_message_at > ?", list.since],
      ["m.phone_number_id = ?", query.phoneNumberId],
    ],
    6,
  );
  const columns = Object.keys(MAPPING_TYPES).map((column) => `m.${column}`);
  const rows = await session.all(
    statementFor(
      `SELECT ${columns.join(", ")} FROM (SELECT * ${scan}) m JOIN phone_numbers n ON n.id = m.phone_number_id
         AND n.generation = m.number_generation AND n.messaging_profile_id = m.messaging_profile_id
       WHERE ${where.text} ORDER BY m."to" LIMIT $5`,
    ),
    ...scanned,
    query.limit + 1,
    ...where.values,
  );
  const page = rows.slice(0, query.limit).map(mappingFrom);
  if (rows.length > query.limit) return { rows: page, next: page.at(-1)?.to };
  const last = await session.get(lastScanned, ...scanned);
  return { rows: page, next: last?.count === LIST_SCAN ? (last.to as string) : undefined };
}

/** Needs one snapshot of the database. */
function listOptOuts(session: Session, organizationId: string, query: OptOutQuery): Promise<Counted<OptOut>> {
  const where = conditions([
    ["organization_id = ?", organizationId],
    ["messaging_profile_id = ?", query.messagingProfileId],
    ['"to" = ?', query.to],
    ["phone_number = ?", query.phoneNumber],
    ["created_at >= ?", query.createdSince],
    ["created_at <= ?", query.createdUntil],
  ]);
  return counted(session, optOutColumns, "opt_outs", where, 'created_at DESC, "to"', query, optOutFrom);
}

async function addOptOut(session: Session, optOut: OptOut): Promise<OptOut> {
  const { organizationId, messagingProfileId, to, phoneNumber, keyword, createdAt } = optOut;
  void session.run(insertOptOut, organizationId, messagingProfileId, to, phoneNumber, keyword, createdAt);
  const row = await session.get(selectOptOut, organizationId, messagingProfileId, to);
  return row === undefined ? optOut : optOutFrom(row);
}

async function removeOptOut(
  session: Session,
  { organizationId, messagingProfileId, to }: RecipientKey,
): Promise<OptOut | undefined> {
  const row = await session.get(deleteOptOut, organizationId, messagingProfileId, to);
  return row === undefined ? undefined : optOutFrom(row);
}

function recipientText({ organizationId, messagingProfileId, to }: RecipientKey): string {
  return `${organizationId} ${messagingProfileId} ${to}`;
}
