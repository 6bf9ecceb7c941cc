import { Failure } from "../../domain/failure.ts";
import type { Changes } from "../../domain/plan/changes.ts";
import type { StoreOptions } from "../store.ts";
import { type Connection, codeOf } from "./open.ts";
import { isLoss, isRefusal, unavailable } from "./unavailable.ts";

/** Runs synchronous work on a SQLite file. */
export type Transactions = {
  /** Work that only reads. */
  readonly read: <Result>(work: () => Result) => Promise<Result>;
  /** Notes what the open transaction writes, for the observer of commits. */
  readonly note: (changes: Changes) => void;
  /** One transaction; rolled back when `work` throws. */
  readonly transact: <Result>(work: () => Result) => Promise<Result>;
  /** Work of a timer: does nothing after the loss of the file, and throws nothing. */
  readonly guard: (work: () => void) => () => void;
  /** Refuses every transaction with this detail, until called with undefined. */
  readonly refuseWrites: (detail: string | undefined) => void;
};

/**
 * Work on an open file. Calls `onLost` once when the disk failed, and rejects everything from then
 * on. Calls `onCommitted` with the changes of each transaction.
 */
export function createTransactions(
  db: Connection,
  { onLost, onCommitted }: Pick<StoreOptions, "onLost" | "onCommitted">,
): Transactions {
  let written: Changes[] = [];
  let isLost = false;
  let refusal: string | undefined;

  /** The meaning of a driver's error for a caller. */
  const translate = (error: unknown): unknown => {
    const code = codeOf(error);
    if (error instanceof Failure || code === "") return error;
    if (isLoss(code)) {
      if (!isLost) {
        isLost = true;
        onLost(error);
      }
      return unavailable("The store failed.", error);
    }
    return isRefusal(code) ? unavailable("The store cannot be written now.", error) : error;
  };

  const read = async <Result>(work: () => Result): Promise<Result> => {
    if (isLost) throw unavailable("The store failed.");
    try {
      return work();
    } catch (error) {
      throw translate(error);
    }
  };

  return {
    read,
    note: (changes) => {
      written.push(changes);
    },
    transact: async (work) => {
      // A write to a file without a name is lost when this process ends.
      if (refusal !== undefined) throw unavailable(refusal);
      // IMMEDIATE: a transaction that reads before it writes would not wait for another writer.
      return read(() => {
        written = [];
        const result = db.transaction(work).immediate();
        for (const changes of written) onCommitted?.(changes);
        return result;
      });
    },
    guard: (work) => () => {
      if (isLost) return;
      try {
        work();
      } catch (error) {
        translate(error);
      }
    },
    refuseWrites: (detail) => {
      refusal = detail;
    },
  };
}
