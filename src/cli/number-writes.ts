import { setTimeout as sleep } from "node:timers/promises";
import type { PhoneNumber } from "../domain/phone-number-record.ts";
import type { Store } from "../store/store.ts";
import { NO_PROFILE, REGISTERED, TAKEN } from "./number-rows.ts";

/** A row that passed every check. */
export type GoodRow = { readonly line: number; readonly number: PhoneNumber };

const REASONS = { exists: REGISTERED, taken: TAKEN, unknownProfile: NO_PROFILE, unknownNumber: NO_PROFILE } as const;

/** The rows of one transaction: a running server waits for it, some milliseconds. */
const COMMIT_ROWS = 500;

/**
 * Writes numbers in short transactions, with a pause after each in which other processes can write.
 * Gives the rows that could not be written because another process changed the database meanwhile.
 * Throws an error of one sentence, with the count of written rows, when the store fails or `stop`
 * is aborted.
 */
export async function writeRows(
  store: Store,
  rows: readonly GoodRow[],
  { stop, mayBeShared }: { readonly stop: AbortSignal; readonly mayBeShared: boolean },
  onWritten: (rows: number) => void,
): Promise<{ readonly line: number; readonly reason: string }[]> {
  const refused: { line: number; reason: string }[] = [];
  for (let from = 0; from < rows.length; from += COMMIT_ROWS) {
    const chunk = rows.slice(from, from + COMMIT_ROWS);
    const since = performance.now();
    try {
      stop.throwIfAborted();
      const outcomes = await store.insertNumbers(
        chunk.map(({ number }) => number),
        mayBeShared,
      );
      for (const [index, outcome] of outcomes.entries()) {
        if (outcome === "written") continue;
        refused.push({ line: chunk[index]?.line ?? 0, reason: REASONS[outcome] });
      }
    } catch (error) {
      const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
      const why = cause instanceof Error ? cause.message : String(cause);
      const written = from - refused.length;
      throw new Error(
        `${written} of ${rows.length} rows were written before the import ended (${why}); run it again with --skip-bad, which skips the written rows.`,
      );
    }
    onWritten(from + chunk.length);
    // As long as the commit took, so that the lock is free half of the time.
    await sleep(performance.now() - since);
  }
  return refused;
}
