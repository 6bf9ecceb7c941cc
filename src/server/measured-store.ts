import type { AppliedReport } from "../domain/carrier-report.ts";
import type { Message } from "../domain/message.ts";
import type { Store } from "../store/store.ts";
import type { Metrics } from "../telemetry/metrics.ts";

/** A store that times its writing transactions, and counts the messages that reach a status. */
export function measureStore(store: Store, { timed, countMessages }: Metrics): Store {
  const accept = timed("accept", store.accept);
  const claim = timed("claim", store.claim);
  const count = (applied: readonly AppliedReport[]) => {
    for (const { status } of applied) if (status !== undefined) countMessages(status);
  };
  return {
    ...store,
    accept: async (reads, decide) => {
      let accepted: readonly Message[] = [];
      await accept(reads, (facts) => {
        const writes = decide(facts);
        accepted = writes.messages ?? [];
        return writes;
      });
      const scheduled = accepted.filter(({ status }) => status === "scheduled").length;
      countMessages("queued", accepted.length - scheduled);
      if (scheduled > 0) countMessages("scheduled", scheduled);
    },
    claim: async (request) => {
      const claims = await claim(request);
      for (const { expired } of claims) count(expired);
      return claims;
    },
    applyReports: timed("reports", store.applyReports),
    releaseScheduled: async (reads, decide) => {
      let decided: readonly Message[] = [];
      await store.releaseScheduled(reads, (facts, occupied) => {
        const writes = decide(facts, occupied);
        decided = writes.rewritten ?? [];
        return writes;
      });
      for (const { status } of decided) countMessages(status);
    },
    cancelMessage: async (organizationId, id, at) => {
      const cancelled = await store.cancelMessage(organizationId, id, at);
      if (cancelled.kind === "cancelled") count([cancelled.applied]);
      return cancelled;
    },
    matchReceipts: async (request) => {
      const swept = await store.matchReceipts(request);
      count(swept.applied);
      return swept;
    },
    settleReceiptTimeouts: async (request) => {
      const swept = await store.settleReceiptTimeouts(request);
      count(swept.applied);
      return swept;
    },
    expireMessages: async (now, limit) => {
      const applied = await store.expireMessages(now, limit);
      count(applied);
      return applied;
    },
    synchronize: async (heartbeat) => {
      const peerUpdates = await store.synchronize(heartbeat);
      count(peerUpdates.settled);
      return peerUpdates;
    },
  };
}
