import { laneText, type WaitingLane } from "../../store/schedule.ts";
import type { Store } from "../../store/store.ts";
import { type Lane, MAX_RETRY_MS } from "./decide-released.ts";

/** Lanes that are read in one pass, and how often all of them are read, milliseconds: other processes fill lanes, too. */
const PAGE_LANES = 500;
const POLL_MS = 60_000;

/** The lanes in which messages wait for room, and when each is tried again. */
export class Lanes {
  private readonly byText = new Map<string, Lane>();
  private page: WaitingLane | undefined;
  private readAt = Number.NEGATIVE_INFINITY;

  /** Whether lanes are still to be read. */
  get isReading(): boolean {
    return this.page !== undefined;
  }

  /** When the first lane is tried again; Infinity: there is none. */
  get nextAt(): number {
    let next = Number.POSITIVE_INFINITY;
    for (const { retryAt } of this.byText.values()) next = Math.min(next, retryAt);
    return next;
  }

  put({ lane, retryAt }: Lane): void {
    this.byText.set(laneText(lane), { lane, retryAt });
  }

  /** Takes some lanes that may have room, so that the next pass takes others first. */
  takeDue(now: number, limit: number): Lane[] {
    const due: Lane[] = [];
    for (const [text, each] of this.byText) {
      if (due.length === limit) break;
      // A moment further ahead was planned before the clock was set back.
      if (each.retryAt > now && each.retryAt <= now + MAX_RETRY_MS) continue;
      due.push(each);
      this.byText.delete(text);
    }
    return due;
  }

  /** Reads a page of the lanes that are stored: from before this process started, or of another one. */
  async read(store: Pick<Store, "listWaitingLanes">, now: number): Promise<void> {
    if (this.page === undefined && now - this.readAt < POLL_MS && now >= this.readAt) return;
    if (this.page === undefined) this.readAt = now;
    const page = await store.listWaitingLanes(PAGE_LANES, this.page);
    this.page = page.length < PAGE_LANES ? undefined : page.at(-1);
    for (const lane of page) if (!this.byText.has(laneText(lane))) this.put({ lane, retryAt: now });
  }
}
