import type { Row } from "../codecs/row.ts";
import type { DeliveryHoldStore } from "../delivery-hold.ts";
import type { Database } from "./database.ts";
import { statement } from "./statement.ts";

const select = statement<Row>("SELECT min(held_since) AS held_since FROM delivery_holds");
const remove = statement("DELETE FROM delivery_holds");

/** The hold of delivery of a database. */
export function createDeliveryHold(database: Database): DeliveryHoldStore {
  return {
    readDeliveryHold: async () => {
      const row = await database.get(select);
      return (row?.held_since as number | null | undefined) ?? undefined;
    },
    endDeliveryHold: async () => {
      await database.run(remove);
    },
  };
}
