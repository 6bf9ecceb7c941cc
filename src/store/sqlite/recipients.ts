import type { RecipientFacts, RecipientKey, StickyMapping } from "../../domain/recipient.ts";
import { mappingFrom, optOutFrom } from "../codecs/recipient.ts";
import type { Row } from "../codecs/row.ts";
import { type Continued, type Counted, LIST_SCAN } from "../pages.ts";
import type { MappingList, MappingQuery, OptOut, OptOutQuery } from "../recipients.ts";
import { conditions, counted } from "./lists.ts";
import type { Connection } from "./open.ts";

/** The statements about recipients: sticky mappings and opt-outs. Each function runs inside a transaction of the caller. */
export function prepareRecipients(db: Connection) {
  const selectMapping = db.prepare(
    'SELECT * FROM sticky_mappings WHERE organization_id = ? AND messaging_profile_id = ? AND "to" = ?',
  );
  const putMapping = db.prepare(
    `INSERT INTO sticky_mappings (organization_id, messaging_profile_id, "to", phone_number_id, profile_generation,
       number_generation, last_message_at) VALUES (?, ?, ?, ?, ?, ?, ?)
     ON CONFLICT DO UPDATE SET phone_number_id = excluded.phone_number_id, profile_generation = excluded.profile_generation,
       number_generation = excluded.number_generation, last_message_at = excluded.last_message_at`,
  );
  const deleteMapping = db.prepare(
    'DELETE FROM sticky_mappings WHERE organization_id = ? AND messaging_profile_id = ? AND "to" = ? RETURNING *',
  );
  const scan = `FROM sticky_mappings WHERE organization_id = ? AND messaging_profile_id = ? AND "to" > ?
    ORDER BY "to" LIMIT ?`;
  const lastScanned = db.prepare(`SELECT max("to") AS "to", count(*) AS count FROM (SELECT "to" ${scan})`);
  const selectOptOut = db.prepare(
    'SELECT * FROM opt_outs WHERE organization_id = ? AND messaging_profile_id = ? AND "to" = ?',
  );
  const insertOptOut = db.prepare(
    `INSERT INTO opt_outs (organization_id, messaging_profile_id, "to", phone_number, keyword, created_at)
     VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
  );
  const deleteOptOut = db.prepare(
    'DELETE FROM opt_outs WHERE organization_id = ? AND messaging_profile_id = ? AND "to" = ? RETURNING *',
  );

  return {
    /** With `sticky` the mapping too. */
    read: ({ organizationId, messagingProfileId, to }: RecipientKey, sticky: boolean): RecipientFacts => {
      const row = sticky ? (selectMapping.get(organizationId, messagingProfileId, to) as Row | undefined) : undefined;
      return {
        optedOut: selectOptOut.get(organizationId, messagingProfileId, to) !== undefined,
        mapping: row === undefined ? undefined : mappingFrom(row),
      };
    },

    putMapping: (m: StickyMapping) => {
      const { organizationId, messagingProfileId, to, phoneNumberId, profileGeneration, numberGeneration } = m;
      const key = [organizationId, messagingProfileId, to];
      putMapping.run(...key, phoneNumberId, profileGeneration, numberGeneration, m.lastMessageAt);
    },
    removeMapping: ({ organizationId, messagingProfileId, to }: RecipientKey): StickyMapping | undefined => {
      const row = deleteMapping.get(organizationId, messagingProfileId, to) as Row | undefined;
      return row === undefined ? undefined : mappingFrom(row);
    },
    listMappings: (list: MappingList, query: MappingQuery): Continued<StickyMapping> => {
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
    },

    listOptOuts: (organizationId: string, query: OptOutQuery): Counted<OptOut> => {
      const where = conditions([
        ["organization_id = ?", organizationId],
        ["messaging_profile_id = ?", query.messagingProfileId],
        ['"to" = ?', query.to],
        ["phone_number = ?", query.phoneNumber],
        ["created_at >= ?", query.createdSince],
        ["created_at <= ?", query.createdUntil],
      ]);
      return counted(db, "opt_outs", where, 'created_at DESC, "to"', query, optOutFrom);
    },
    addOptOut: (optOut: OptOut): OptOut => {
      const { organizationId, messagingProfileId, to, phoneNumber, keyword, createdAt } = optOut;
      insertOptOut.run(organizationId, messagingProfileId, to, phoneNumber, keyword, createdAt);
      return optOutFrom(selectOptOut.get(organizationId, messagingProfileId, to) as Row);
    },
    removeOptOut: ({ organizationId, messagingProfileId, to }: RecipientKey): OptOut | undefined => {
      const row = deleteOptOut.get(organizationId, messagingProfileId, to) as Row | undefined;
      return row === undefined ? undefined : optOutFrom(row);
    },
  };
}
