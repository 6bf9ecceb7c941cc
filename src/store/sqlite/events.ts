import { eventFrom } from "../codecs/event.ts";
import type { Row } from "../codecs/row.ts";
import type { EventStore } from "../events.ts";
import type { Connection } from "./open.ts";
import type { Transactions } from "./transactions.ts";

/** Prepares the statements that read events. */
export function prepareEvents(db: Connection, { read }: Transactions): EventStore {
  const select = db.prepare(
    `SELECT * FROM message_events WHERE organization_id = ? AND message_id = ? AND sequence > +?
     ORDER BY sequence LIMIT +?`,
  );
  return {
    listMessageEvents: (organizationId, messageId, query) =>
      read(() => {
        const after = Number(query.after ?? 0);
        const rows = select.all(organizationId, messageId, after, query.limit + 1) as Row[];
        const page = rows.slice(0, query.limit).map(eventFrom);
        return { rows: page, next: rows.length > query.limit ? String(page.at(-1)?.sequence ?? after) : undefined };
      }),
  };
}
