import type { AppliedReport, CarrierReport } from "../domain/carrier-report.ts";

/**
 * The result of one call of a sweep, and the cursor of the next; `next` undefined: the sweep is
 * complete.
 */
export type Swept = { readonly applied: readonly AppliedReport[]; readonly next: string | undefined };

/** Reports of carriers. */
export type ReportStore = {
  /**
   * Applies reports of carriers in order, by the rule of `domain/lifecycle.ts`, and gives the
   * result of each. A receipt belongs to the message with exactly its id. A receipt without a
   * message is stored, and applied when an answer of the carrier has exactly its id.
   */
  readonly applyReports: (reports: readonly CarrierReport[]) => Promise<AppliedReport[]>;
  /**
   * Applies stored receipts whose id is another form of the id in the carrier's answer, where
   * `domain/plan/match-receipt.ts` allows it. One call reads `limit` receipts from a cursor on.
   */
  readonly matchReceipts: (request: {
    readonly now: number;
    readonly after: string | undefined;
    readonly limit: number;
  }) => Promise<Swept>;
  /**
   * Applies `receipt_timeout` to messages that were sent before `sentBefore` and have no receipt.
   * One call reads `limit` sent messages from a cursor on.
   */
  readonly settleReceiptTimeouts: (request: {
    readonly sentBefore: number;
    readonly at: number;
    readonly after: string | undefined;
    readonly limit: number;
  }) => Promise<Swept>;
};
