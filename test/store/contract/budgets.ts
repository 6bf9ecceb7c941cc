import fc from "fast-check";
import { expect, it } from "vitest";
import type { PhoneNumber } from "../../../src/domain/phone-number-record.ts";
import type { Claim } from "../../../src/domain/plan/claims.ts";
import {
  claimOne,
  HOUR,
  idsOf,
  NOON,
  report,
  SECOND,
  storeMessage,
  storeMessages,
  storeNumber,
  storeProfile,
} from "./records.ts";
import type { Subject } from "./subject.ts";

/** Claims within the budgets of carriers. */
export function budgets(subject: Subject): void {
  const claim = async (numbers: readonly PhoneNumber[], budget: Record<string, number>, now = NOON) => {
    const phoneNumberIds = idsOf(numbers);
    const request = { now, owner: "process-1", phoneNumberIds, budgets: new Map(Object.entries(budget)) };
    const claims = await subject().store.claim(request);
    return numbers.map(({ id }) => claims.find(({ phoneNumberId }) => phoneNumberId === id) as Claim);
  };
  const count = (claims: readonly Claim[]) => claims.map(({ messages }) => messages.length);
  const fast = (carrier: string) => ({ carrier, segmentsPerSecond: 1_000 });
  const filled = async (carrier: string, messages: number): Promise<PhoneNumber> => {
    const { store } = subject();
    const number = await storeNumber(store, await storeProfile(store), fast(carrier));
    await storeMessages(store, number, ...Array.from({ length: messages }, () => ({})));
    return number;
  };

  it("a carrier without budget gets nothing: its numbers are blocked, and unchanged", async () => {
    const { store } = subject();
    const number = await filled("down", 3);
    const before = await store.loadPoolNumber(number.id);
    const [held] = await claim([number], { down: 0 });
    expect(held).toMatchObject({ carrier: "down", messages: [], expired: [], waitsForCarrier: true });
    expect(held?.freeAt).toBeLessThanOrEqual(NOON);
    expect(await store.loadPoolNumber(number.id)).toEqual(before);
    expect(await store.measureQueue()).toMatchObject({ messages: 3 });
    expect(count(await claim([number], {}))).toEqual([3]);
  });

  it("while delivery is held, nothing is claimed, and messages expire on time, whenever their number is due", async () => {
    const { store } = subject();
    const number = await storeNumber(store, await storeProfile(store), fast("up"));
    const validUntil = [NOON + SECOND, NOON + HOUR, NOON - 1];
    const messages = await storeMessages(store, number, ...validUntil.map((each) => ({ validUntil: each })));
    const hold = async (now: number) => {
      const request = {
        now,
        owner: "process-1",
        phoneNumberIds: [number.id],
        budgets: new Map(),
        isDeliveryHeld: true,
      };
      const [claimed] = await store.claim(request);
      return claimed as Claim;
    };
    const ended = ({ expired }: Claim) => expired.map(({ messageId }) => messageId);
    const first = await hold(NOON);
    expect([first.messages, ended(first)]).toEqual([[], [messages[2]?.id]]);
    const second = await hold(NOON);
    expect([second.messages, ended(second), second.dueAt]).toEqual([[], [], NOON + SECOND]);
    expect(ended(await hold(NOON + SECOND))).toEqual([messages[0]?.id]);
    expect(idsOf((await claimOne(store, number, NOON + SECOND)).messages)).toEqual([messages[1]?.id]);
    // A number that is not due yet.
    const [late] = await storeMessages(store, number, { validUntil: NOON + SECOND });
    expect(ended(await hold(NOON + SECOND))).toEqual([late?.id]);
  });

  it("delivery is held as long as the database is marked", async () => {
    const { store, execute } = subject();
    expect(await store.readDeliveryHold()).toBeUndefined();
    await execute("INSERT INTO delivery_holds (held_since) VALUES (1700000000000)");
    expect(await store.readDeliveryHold()).toBe(1_700_000_000_000);
    await store.endDeliveryHold();
    expect(await store.readDeliveryHold()).toBeUndefined();
    await store.endDeliveryHold();
  });

  it("a budget is shared between the numbers of its carrier, and other carriers are not limited", async () => {
    const numbers = [
      await filled("slow", 3),
      await filled("free", 4),
      await filled("slow", 3),
      await filled("slow", 3),
    ];
    const claims = await claim(numbers, { slow: 4 });
    const [first, free, second, third] = count(claims) as [number, number, number, number];
    expect(free).toBe(4);
    expect(first + second + third).toBe(4);
    for (const [index, each] of claims.entries()) {
      const isLeft = each.carrier === "slow" && each.messages.length < 3;
      expect([each.waitsForCarrier, each.carrier]).toEqual([isLeft, numbers[index]?.carrier]);
    }
    const rest = await claim(numbers, { slow: 100 }, NOON + SECOND);
    expect(count(rest).reduce((sum, each) => sum + each)).toBe(5);
    expect(rest.some(({ waitsForCarrier }) => waitsForCarrier)).toBe(false);
  });

  it("gives the lesser of what the pace and the budget allow, and is blocked only by the budget", async () => {
    const { store } = subject();
    const rates = fc.constantFrom(1, 50, 200);
    await fc.assert(
      fc.asyncProperty(rates, fc.nat(8), fc.nat(8), async (segmentsPerSecond, queued, budget) => {
        const number = await storeNumber(store, await storeProfile(store), { carrier: "slow", segmentsPerSecond });
        const messages = await storeMessages(store, number, ...Array.from({ length: queued }, () => ({})));
        const paced = Math.min(queued, Math.floor((20 * segmentsPerSecond) / 1_000) + 1);
        const [given] = await claim([number], { slow: budget });
        expect(idsOf(given?.messages ?? [])).toEqual(idsOf(messages.slice(0, Math.min(paced, budget))));
        if (budget < paced) expect(given?.waitsForCarrier).toBe(true);
        else if (budget > paced || queued <= budget) expect(given?.waitsForCarrier).toBe(false);
        // A number that is not blocked has a next claim while its queue is not empty.
        if (given?.waitsForCarrier === false) expect(given.dueAt !== undefined).toBe(queued > paced);
        const all = [...(given?.messages ?? [])];
        for (let now = NOON + 20; all.length < queued && now < NOON + HOUR; now += 1_000 / segmentsPerSecond) {
          all.push(...((await claim([number], {}, now))[0]?.messages ?? []));
        }
        expect(idsOf(all)).toEqual(idsOf(messages));
      }),
      { numRuns: 30 },
    );
  });

  it("numbers that are not due, paused, empty or removed are not blocked, whatever their carrier's budget", async () => {
    const { store } = subject();
    const profile = await storeProfile(store);
    const [paced, paused, empty, gone] = [
      await storeNumber(store, profile),
      await storeNumber(store, profile, { state: "paused" }),
      await storeNumber(store, profile),
      await storeNumber(store, profile),
    ];
    await storeMessages(store, paced, {}, {});
    await storeMessage(store, paused);
    await claimOne(store, paced, NOON);
    await store.removeNumber(profile.organizationId, gone.id);
    const claims = await claim([paced, paused, empty, gone], { sandbox: 0 }, NOON + 1);
    expect(claims.filter((each) => each?.waitsForCarrier)).toEqual([]);
    expect(claims[0]).toMatchObject({ messages: [], dueAt: NOON + 980 });
    expect(claims[3] ?? { carrier: undefined, dueAt: undefined }).toMatchObject({
      carrier: undefined,
      dueAt: undefined,
    });
  });

  it("a message that waits too long for a budget expires, and costs no budget", async () => {
    const { store } = subject();
    const number = await storeNumber(store, await storeProfile(store), fast("down"));
    const [late, timely] = await storeMessages(store, number, { validUntil: NOON }, {});
    // Expired messages may have to end first.
    const given = [...(await claim([number], { down: 0 })), ...(await claim([number], { down: 0 }))];
    expect(given.flatMap(({ messages }) => messages)).toEqual([]);
    expect(given.flatMap(({ expired }) => expired)).toMatchObject([{ messageId: late?.id, status: "expired" }]);
    expect(given[1]?.waitsForCarrier).toBe(true);
    expect(await store.measureQueue()).toEqual({ messages: 1, oldestId: timely?.id });
    const [next] = await claim([number], { down: 1 }, NOON + SECOND);
    expect([idsOf(next?.messages ?? []), next?.waitsForCarrier]).toEqual([[timely?.id], false]);
  });

  it("a number that moved is claimed for its present carrier, and so are its messages", async () => {
    const { store } = subject();
    const number = await filled("old", 2);
    const move = (carrier: string) =>
      store.updateNumber(number.organizationId, number.id, (current) => ({ ...current, carrier }));
    await move("new");
    const [claimed] = await claim([number], { old: 0, new: 1 });
    expect(claimed).toMatchObject({
      carrier: "new",
      messages: [{ carrier: "new", submits: 1 }],
      waitsForCarrier: true,
    });
    const [message] = claimed?.messages ?? [];
    expect(await store.getMessage(number.organizationId, message?.id ?? "")).toMatchObject({ carrier: "new" });
    await move("old");
    expect(await claim([number], { old: 0 }, NOON + SECOND)).toMatchObject([{ carrier: "old", waitsForCarrier: true }]);
    const queued = (await store.listMessages(number.organizationId, { after: undefined, limit: 1 })).rows[0];
    expect(queued).toMatchObject({ status: "queued", submits: 0 });
  });

  it("counts the submits of a message, and nothing else", async () => {
    const { store } = subject();
    const number = await filled("busy", 1);
    for (const submits of [1, 2, 3]) {
      const now = NOON + submits * SECOND;
      expect(await claim([number], { busy: 0 }, now)).toMatchObject([{ messages: [] }]);
      const [message] = (await claim([number], {}, now))[0]?.messages ?? [];
      expect(message?.submits).toBe(submits);
      if (message === undefined) throw new Error("nothing was claimed");
      await report(store, message, { kind: "deferred", at: now, carrierCode: "088", retryAt: now });
      expect((await store.getMessage(message.organizationId, message.id))?.submits).toBe(submits);
    }
  });
}
