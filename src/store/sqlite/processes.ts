import type { Row } from "../codecs/row.ts";
import type { ProcessStore } from "../processes.ts";
import type { Connection } from "./open.ts";
import { applyToAll, SELECT_HELD } from "./reports.ts";
import type { Transactions } from "./transactions.ts";
import type { WriteChanges } from "./write-changes.ts";

/**
 * Prepares the settlement of what other processes left; a process serves a file alone, so the
 * others are gone.
 */
export function prepareProcesses(db: Connection, { transact }: Transactions, write: WriteChanges): ProcessStore {
  const selectOfOthers = db.prepare(`${SELECT_HELD} WHERE m.status = 'sending' AND m.owner <> ?`);
  /** The owner for whom the others' messages are settled already. */
  let settledFor = "";
  return {
    synchronize: async ({ owner, now }) => {
      const settle = () =>
        applyToAll(write, selectOfOthers.all(owner) as Row[], { kind: "submit_unconfirmed", at: now });
      const settled = owner === settledFor ? [] : await transact(settle);
      settledFor = owner;
      return { backlog: [], health: [], settled };
    },
  };
}
