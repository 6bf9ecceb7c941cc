import { setTimeout as sleep } from "node:timers/promises";
import type { PhoneNumber } from "../domain/phone-number-record.ts";
import type { Store } from "../store/store.ts";
import { NO_PROFILE, REGISTERED, TAKEN } from "./number-rows.ts";

/** A row that was found good. */
export type GoodRow = { readonly line: number; readonly number: PhoneNumber };

const REASONS = { exists: REGISTERED, taken: TAKEN, unknownProfile: NO_PROFILE, unknownNumber: NO_PROFILE } as const;

/** Rows in one transaction: some milliseconds, for which a server beside us waits. */
const COMMIT = 500;

/**
 * Writes numbers in short transactions, with a pause after each in which others get to write. Gives the rows that could not be
 * written after all, because somebody else changed something meanwhile. Throws one sentence that says how many rows were written
 * when the store fails, or `stop` asks for an end.
 */
export async function writeRows(
  store: Store,
  rows: readonly GoodRow[],
  { stop, mayBeShared }: { readonly stop: AbortSignal; readonly mayBeShared: boolean },
  onWritten: (rows: number) => void,
): Promise<{ readonly line: number; readonly reason: string }[]> {
  const refused: { line: number; reason: string }[] = [];
  for (let from = 0; from < rows.length; from += COMMIT) {
    const chunk = rows.slice(from, from + COMMIT);
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
        `${written} of ${rows.length} rows were written before the import ended (${why}); it is safe to run it again with --skip-bad, which passes over what is written.`,
      );
    }
    onWritten(from + chunk.length);
    // As long as the commit took: whoever waits for the lock finds it free half of the time.
    await sleep(performance.now() - since);
  }
  return refused;
}
