import { EVENT_COLUMNS, eventFrom } from "../codecs/event.ts";
import type { Row } from "../codecs/row.ts";
import type { EventStore } from "../events.ts";
import type { Database } from "./database.ts";
import { statement } from "./statement.ts";

const columns = EVENT_COLUMNS.join(", ");
const select = statement<Row>(
  `SELECT sequence, ${columns} FROM message_events WHERE organization_id = $1 AND message_id = $2 AND sequence > $3
   ORDER BY sequence LIMIT $4`,
);

/** The history of messages on a database. */
export function createEvents(database: Database): EventStore {
  return {
    listMessageEvents: async (organizationId, messageId, query) => {
      const after = Number(query.after ?? 0);
      const rows = await database.all(select, organizationId, messageId, after, query.limit + 1);
      const page = rows.slice(0, query.limit).map(eventFrom);
      return { rows: page, next: rows.length > query.limit ? String(page.at(-1)?.sequence ?? after) : undefined };
    },
  };
}
