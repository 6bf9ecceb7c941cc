import type { RecipientFacts, RecipientKey, StickyMapping } from "../../domain/recipient.ts";
import { mappingFrom, optOutFrom } from "../codecs/recipient.ts";
import type { Row } from "../codecs/row.ts";
import { type Continued, LIST_SCAN } from "../pages.ts";
import type { MappingList, MappingQuery, RecipientStore } from "../recipients.ts";
import { conditions, counted } from "./lists.ts";
import type { Connection } from "./open.ts";
import type { Transactions } from "./transactions.ts";

/**
 * Reads the facts of a recipient, with `sticky` the mapping too; inside a transaction of the
 * caller.
 */
export type ReadRecipient = (key: RecipientKey, sticky: boolean) => RecipientFacts;

/** Writes a mapping; inside a transaction of the caller. */
export type PutMapping = (mapping: StickyMapping) => void;

const OF_RECIPIENT = 'WHERE organization_id = ? AND messaging_profile_id = ? AND "to" = ?';

/** Prepares the reading of a recipient's facts. */
export function prepareReadRecipient(db: Connection): ReadRecipient {
  const selectMapping = db.prepare(`SELECT * FROM sticky_mappings ${OF_RECIPIENT}`);
  const selectOptOut = db.prepare(`SELECT 1 FROM opt_outs ${OF_RECIPIENT}`);
  return ({ organizationId, messagingProfileId, to }, sticky) => {
    const row = sticky ? (selectMapping.get(organizationId, messagingProfileId, to) as Row | undefined) : undefined;
    return {
      optedOut: selectOptOut.get(organizationId, messagingProfileId, to) !== undefined,
      mapping: row && mappingFrom(row),
    };
  };
}

/** Prepares the writing of a mapping. */
export function preparePutMapping(db: Connection): PutMapping {
  const put = db.prepare(
    `INSERT INTO sticky_mappings (organization_id, messaging_profile_id, "to", phone_number_id, profile_generation,
       number_generation, last_message_at) VALUES (?, ?, ?, ?, ?, ?, ?)
     ON CONFLICT DO UPDATE SET phone_number_id = excluded.phone_number_id, profile_generation = excluded.profile_generation,
       number_generation = excluded.number_generation, last_message_at = excluded.last_message_at`,
  );
  return (m) => {
    const key = [m.organizationId, m.messagingProfileId, m.to];
    put.run(...key, m.phoneNumberId, m.profileGeneration, m.numberGeneration, m.lastMessageAt);
  };
}

/** Prepares the statements about mappings and opt-outs. */
export function prepareRecipients(
  db: Connection,
  { read, transact }: Transactions,
  readRecipient: ReadRecipient,
  putMapping: PutMapping,
): RecipientStore {
  const listMappings = prepareListMappings(db);
  const deleteMapping = db.prepare(`DELETE FROM sticky_mappings ${OF_RECIPIENT} RETURNING *`);
  const selectOptOut = db.prepare(`SELECT * FROM opt_outs ${OF_RECIPIENT}`);
  const insertOptOut = db.prepare(
    `INSERT INTO opt_outs (organization_id, messaging_profile_id, "to", phone_number, keyword, created_at)
     VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
  );
  const deleteOptOut = db.prepare(`DELETE FROM opt_outs ${OF_RECIPIENT} RETURNING *`);

  return {
    readRecipient: (key) => read(() => readRecipient(key, true)),

    listMappings: (list, query) => read(() => listMappings(list, query)),
    putMapping: (mapping) => transact(() => putMapping(mapping)),
    removeMapping: ({ organizationId, messagingProfileId, to }) =>
      transact(() => {
        const row = deleteMapping.get(organizationId, messagingProfileId, to) as Row | undefined;
        return row && mappingFrom(row);
      }),

    listOptOuts: (organizationId, query) => {
      const where = conditions([
        ["organization_id = ?", organizationId],
        ["messaging_profile_id = ?", query.messagingProfileId],
        ['"to" = ?', query.to],
        ["phone_number = ?", query.phoneNumber],
        ["created_at >= ?", query.createdSince],
        ["created_at <= ?", query.createdUntil],
      ]);
      return read(() => counted(db, "opt_outs", where, 'created_at DESC, "to"', query, optOutFrom));
    },
    addOptOut: ({ organizationId, messagingProfileId, to, phoneNumber, keyword, createdAt }) =>
      transact(() => {
        insertOptOut.run(organizationId, messagingProfileId, to, phoneNumber, keyword, createdAt);
        return optOutFrom(selectOptOut.get(organizationId, messagingProfileId, to) as Row);
      }),
    removeOptOut: ({ organizationId, messagingProfileId, to }) =>
      transact(() => {
        const row = deleteOptOut.get(organizationId, messagingProfileId, to) as Row | undefined;
        return row && optOutFrom(row);
      }),
  };
}

function prepareListMappings(db: Connection): (list: MappingList, query: MappingQuery) => Continued<StickyMapping> {
  const scan = `FROM sticky_mappings WHERE organization_id = ? AND messaging_profile_id = ? AND "to" > ?
    ORDER BY "to" LIMIT ?`;
  const lastScanned = db.prepare(`SELECT max("to") AS "to", count(*) AS count FROM (SELECT "to" ${scan})`);
  return (list, query) => {
    const scanned = [list.organizationId, list.messagingProfileId, query.after ?? "", LIST_SCAN];
    const where = conditions([
      ["m.profile_generation = ?", list.profileGeneration],
      ["m.last_message_at > ?", list.since],
      ["m.phone_number_id = ?", query.phoneNumberId],
    ]);
    const rows = db
      .prepare(
        `SELECT m.* FROM (SELECT * ${scan}) m JOIN phone_numbers n ON n.id = m.phone_number_id
           AND n.generation = m.number_generation AND n.messaging_profile_id = m.messaging_profile_id
         WHERE ${where.text} ORDER BY m."to" LIMIT ?`,
      )
      .all(...scanned, ...where.values, query.limit + 1) as Row[];
    const page = rows.slice(0, query.limit).map(mappingFrom);
    if (rows.length > query.limit) return { rows: page, next: page.at(-1)?.to };
    const last = lastScanned.get(...scanned) as { to: string; count: number };
    return { rows: page, next: last.count === LIST_SCAN ? last.to : undefined };
  };
}
