import { laneText, type WaitingLane } from "../../store/schedule.ts";
import type { Store } from "../../store/store.ts";
import { type Lane, MAX_RETRY_MS } from "./decide-released.ts";

/** Lanes read in one pass. */
const PAGE_LANES = 500;
/** How often all lanes are read: other processes add lanes, too. */
const POLL_MS = 60_000;

/** The lanes in which messages wait for room, and when each is retried. */
export class Lanes {
  private readonly byText = new Map<string, Lane>();
  private page: WaitingLane | undefined;
  private readAt = Number.NEGATIVE_INFINITY;

  /** Whether a read of all lanes is not finished. */
  get isReading(): boolean {
    return this.page !== undefined;
  }

  /** When the first lane is retried; Infinity: there are no lanes. */
  get nextAt(): number {
    let next = Number.POSITIVE_INFINITY;
    for (const { retryAt } of this.byText.values()) next = Math.min(next, retryAt);
    return next;
  }

  put({ lane, retryAt }: Lane): void {
    this.byText.set(laneText(lane), { lane, retryAt });
  }

  /** Takes at most `limit` lanes that may have room, so that the next pass takes others first. */
  takeDue(now: number, limit: number): Lane[] {
    const due: Lane[] = [];
    for (const [text, lane] of this.byText) {
      if (due.length === limit) break;
      // A later time predates a correction of the clock.
      if (lane.retryAt > now && lane.retryAt <= now + MAX_RETRY_MS) continue;
      due.push(lane);
      this.byText.delete(text);
    }
    return due;
  }

  /** Reads a page of the stored lanes: of other processes, or from before this process started. */
  async read(store: Pick<Store, "listWaitingLanes">, now: number): Promise<void> {
    if (this.page === undefined && now - this.readAt < POLL_MS && now >= this.readAt) return;
    if (this.page === undefined) this.readAt = now;
    const page = await store.listWaitingLanes(PAGE_LANES, this.page);
    this.page = page.length < PAGE_LANES ? undefined : page.at(-1);
    for (const lane of page) if (!this.byText.has(laneText(lane))) this.put({ lane, retryAt: now });
  }
}
