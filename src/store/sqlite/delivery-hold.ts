import type { DeliveryHoldStore } from "../delivery-hold.ts";
import type { Connection } from "./open.ts";
import type { Transactions } from "./transactions.ts";

/** Prepares the statements about the hold of delivery. */
export function prepareDeliveryHold(db: Connection, { read, transact }: Transactions): DeliveryHoldStore {
  const select = db.prepare("SELECT min(held_since) FROM delivery_holds").pluck();
  const remove = db.prepare("DELETE FROM delivery_holds");
  return {
    readDeliveryHold: () => read(() => (select.get() as number | null) ?? undefined),
    endDeliveryHold: () =>
      transact(() => {
        remove.run();
      }),
  };
}
