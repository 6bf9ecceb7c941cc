import { expect, it } from "vitest";
import { aMessage, aScheduled, claimOne, NOON, report, SECOND, storeNumber, storeProfile, write } from "./records.ts";
import type { Subject } from "./subject.ts";

/** What the observer of commits receives. */
export function commits(subject: Subject): void {
  /** The statuses that messages reached by the commits since the last call. */
  const reached = () =>
    subject()
      .committed.splice(0)
      .flatMap(({ messages = [], events = [] }) => [
        ...messages.map(({ status }) => status),
        ...events.flatMap(({ event }) => (event.changesStatus ? [event.status] : [])),
      ]);

  it("the changes of each transaction, once they are on disk", async () => {
    const { store } = subject();
    const profile = await storeProfile(store);
    const number = await storeNumber(store, profile);
    expect(reached()).toEqual([]);
    const [message, scheduled] = [aMessage(number), aScheduled(profile)];
    await write(store, { messages: [message, scheduled] });
    expect(reached()).toEqual(["queued", "scheduled"]);
    await store.cancelMessage(profile.organizationId, scheduled.id, NOON + SECOND);
    expect(reached()).toEqual(["cancelled"]);
    await claimOne(store, number, NOON);
    expect(reached()).toEqual(["sending"]);
    await report(
      store,
      message,
      { kind: "accepted", at: NOON + SECOND, carrierMessageId: "c-1" },
      { kind: "delivered", at: NOON + 2 * SECOND },
    );
    expect(reached()).toEqual(["sent", "delivered"]);
    await report(store, message, { kind: "delivered", at: NOON + 3 * SECOND });
    expect(reached()).toEqual([]);
  });

  it("nothing of a transaction that was rolled back", async () => {
    const { store } = subject();
    const number = await storeNumber(store, await storeProfile(store));
    const message = aMessage(number);
    const reads = { recipients: [], keys: [], retries: [] };
    const fails = store.accept(reads, () => {
      throw new Error("a policy that fails");
    });
    await expect(fails).rejects.toThrow("a policy that fails");
    await write(store, { messages: [message] });
    await expect(write(store, { messages: [message] })).rejects.toThrow();
    expect(reached()).toEqual(["queued"]);
  });
}
