import { setTimeout as sleep } from "node:timers/promises";
import type { Client } from "pg";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { addOutcome, HALF_LIFE_MS, NO_EVIDENCE } from "../../src/domain/health.ts";
import type { IdempotencyRecord } from "../../src/domain/idempotency.ts";
import type { QueuedMessage } from "../../src/domain/message.ts";
import { release } from "../../src/domain/pace.ts";
import type { PhoneNumber } from "../../src/domain/phone-number-record.ts";
import type { AcceptWrites } from "../../src/store/accept.ts";
import type { ConfigurationChange } from "../../src/store/configuration-changes.ts";
import { connect } from "../../src/store/postgres/connection.ts";
import { openPostgresStore } from "../../src/store/postgres/postgres-store.ts";
import type { Store } from "../../src/store/store.ts";
import {
  aMessage,
  claimOne,
  eventsOf,
  expectHealth,
  FAILED_BY_SENDER,
  HOUR,
  idsOf,
  NO_BUDGETS,
  NOON,
  report,
  SECOND,
  storeMessage,
  storeMessages,
  storeNumber,
  storeProfile,
  write,
} from "./contract/records.ts";
import { freshDatabase } from "./postgres-database.ts";

const NOTHING: AcceptWrites = { messages: [], mappings: [], keys: [], recentSends: [] };
let one: Store;
let two: Store;
/** Statements of another program. */
let raw: Client;
let url: string;

const open = () => openPostgresStore(url, { onLost: () => {}, chance: Math.random });
const aNumberOf = async (segmentsPerSecond = 1): Promise<PhoneNumber> =>
  storeNumber(one, await storeProfile(one), { segmentsPerSecond });
const statusOf = async ({ organizationId, id }: QueuedMessage) => (await two.getMessage(organizationId, id))?.status;
const upTo = (count: number) => Array.from({ length: count }, (_, index) => index);

/** Resolves when a store has passed on all earlier changes: its own change follows them. */
const heardAll = (store: Store) => storeProfile(store);

beforeAll(async () => {
  url = await freshDatabase();
  one = await open();
  two = await open();
  raw = await connect(url);
});

afterAll(async () => {
  await raw?.end();
  await one?.close();
  await two?.close();
});

describe("Two processes on one PostgreSQL database", () => {
  it("claim no message twice, and keep each number's pace exactly", async () => {
    const stores = [one, two];
    const queues = new Map<string, { rate: number; due: number; left: QueuedMessage[] }>();
    for (const rate of [1, 3, 70, 250]) {
      const number = await aNumberOf(rate);
      const left = await storeMessages(one, number, ...upTo(60).map((index) => ({ parts: 1 + (index % 3) })));
      queues.set(number.id, { rate, due: 0, left });
    }
    const phoneNumberIds = [...queues.keys()];
    for (const tick of upTo(60)) {
      const now = NOON + 17 * tick;
      const claiming = stores.map((store, index) =>
        store.claim({ now, owner: `process-${index}`, phoneNumberIds, budgets: NO_BUDGETS }),
      );
      const claims = (await Promise.all(claiming)).flat();
      for (const [id, queue] of queues) {
        const got = claims.flatMap(({ phoneNumberId, messages }) => (phoneNumberId === id ? messages : []));
        const sizes = queue.left.map(({ parts }) => parts);
        const isDue = queue.due <= now;
        const released = isDue ? release(sizes, queue.due, now, queue.rate) : { count: 0, dueAt: queue.due };
        expect(idsOf(got)).toEqual(idsOf(queue.left.splice(0, released.count)));
        if (released.count > 0) queue.due = released.dueAt;
      }
    }
  });

  it("give the next claim of a number that the other locks, and claim nothing from it meanwhile", async () => {
    const number = await aNumberOf();
    const message = await storeMessage(one, number);
    await raw.query("BEGIN");
    await raw.query("SELECT FROM phone_numbers WHERE id = $1 FOR NO KEY UPDATE", [number.id]);
    expect(await claimOne(two, number, NOON)).toMatchObject({ messages: [], dueAt: NOON + 20, carrier: "sandbox" });
    await raw.query("ROLLBACK");
    expect(idsOf((await claimOne(two, number, NOON)).messages)).toEqual([message.id]);
  });

  it("share a daily limit: three of them send what one day allows, and no more", async () => {
    const number = await storeNumber(one, await storeProfile(one), { dailySegmentLimit: 10, segmentsPerSecond: 1_000 });
    await storeMessages(one, number, ...upTo(30).map(() => ({ validUntil: NOON + 100 * HOUR })));
    const three = await openPostgresStore(url, { onLost: () => {}, chance: Math.random });
    let sent = 0;
    const work = async (store: Store, owner: string) => {
      for (let at = NOON; at < NOON + 2 * SECOND; at += 20) {
        const { messages } = await claimOne(store, number, at, owner);
        sent += messages.length;
      }
    };
    await Promise.all([work(one, "one"), work(two, "two"), work(three, "three")]);
    expect(sent).toBe(10);
    await three.close();
  });

  it("remove a number or send from it: each of its messages is failed or sent, and never both", async () => {
    for (const attempt of upTo(10)) {
      const number = await aNumberOf(1_000);
      const messages = await storeMessages(one, number, ...upTo(15).map(() => ({})));
      const [claimed] = await Promise.all([
        claimOne(two, number, NOON),
        sleep(attempt % 3).then(() => one.removeNumber(number.organizationId, number.id)),
      ]);
      const got = new Set(idsOf(claimed.messages));
      await claimOne(two, number, NOON);
      for (const message of messages) {
        expect(await statusOf(message)).toBe(got.has(message.id) ? "sending" : "sending_failed");
      }
    }
  });

  it("a message that enters the queue of a number while the other removes it fails", async () => {
    const number = await aNumberOf();
    await one.removeNumber(number.organizationId, number.id);
    const late = await storeMessage(two, number);
    expect(await two.listQueues(1, previous(number.id))).toEqual([{ phoneNumberId: number.id, dueAt: 0 }]);
    const { expired, carrier, dueAt } = await claimOne(two, number, NOON);
    expect([carrier, dueAt]).toEqual([undefined, undefined]);
    expect(expired).toMatchObject([{ messageId: late.id, status: "sending_failed", reported: 1, queuedSegments: -1 }]);
    expect(await eventsOf(one, late)).toMatchObject([{ kind: "sending_failed", at: NOON }]);
  });

  it("accept a send once that reaches both, and answer its repeats with the same response", async () => {
    const number = await aNumberOf();
    const { organizationId } = number;
    const keys = ["b", "a", "c"].map((key) => ({ organizationId, method: "SendMessage", key }));
    const accepted: string[] = [];
    const answers = await Promise.all(
      upTo(50).map(async (index) => {
        // In any order: no transaction waits for one that waits.
        const asked = index % 2 === 0 ? keys : keys.toReversed();
        let answered: string[] = [];
        let written: string[] = [];
        await (index % 3 === 0 ? one : two).accept({ recipients: [], keys: asked, retries: [] }, (facts) => {
          written = [];
          answered = [];
          const messages: QueuedMessage[] = [];
          const records: IdempotencyRecord[] = [];
          for (const [place, key] of asked.entries()) {
            const known = facts.keys[place];
            const message = aMessage(number);
            const response = new TextEncoder().encode(message.id);
            answered.push(`${key.key} ${known === undefined ? message.id : new TextDecoder().decode(known.response)}`);
            if (known !== undefined) continue;
            messages.push(message);
            written.push(message.id);
            records.push({ ...key, requestHash: new Uint8Array(32).fill(1), response, createdAt: NOON });
          }
          return { ...NOTHING, messages, keys: records };
        });
        accepted.push(...written);
        return answered.toSorted();
      }),
    );
    expect(accepted).toHaveLength(3);
    expect(new Set(answers.map((each) => each.join())).size).toBe(1);
    expect((await one.loadPoolNumber(number.id))?.traffic.queuedSegments).toBe(3);
  });

  it("release a key whose send was refused, for a waiting repeat", async () => {
    const number = await aNumberOf();
    const { organizationId } = number;
    const key = { organizationId, method: "SendMessage", key: "order-1" };
    const record = { ...key, requestHash: new Uint8Array(32).fill(1), response: new Uint8Array(1), createdAt: NOON };
    const decisions: boolean[] = [];
    const send = (store: Store, isRefused: boolean) =>
      store.accept({ recipients: [], keys: [key], retries: [] }, (facts) => {
        decisions.push(facts.keys[0] !== undefined);
        return isRefused ? NOTHING : { ...NOTHING, keys: [record] };
      });
    await Promise.all([send(one, true), send(two, true), send(one, true)]);
    await Promise.all([send(one, false), send(two, true)]);
    expect(decisions.slice(0, 3)).toEqual([false, false, false]);
    await send(two, true);
    expect(decisions.at(-1)).toBe(true);
  });

  it("keep one mapping for each recipient, whichever order they write them in", async () => {
    const number = await aNumberOf();
    const { organizationId } = number;
    const messagingProfileId = number.messagingProfileId as string;
    const mappings = upTo(40).map((index) => ({
      organizationId,
      messagingProfileId,
      to: `+12125550${100 + index}`,
      phoneNumberId: number.id,
      profileGeneration: 0,
      numberGeneration: 0,
      lastMessageAt: NOON,
    }));
    await Promise.all(
      upTo(40).map((index) =>
        write(index % 2 === 0 ? one : two, {
          mappings: index % 4 < 2 ? mappings : mappings.toReversed(),
        }),
      ),
    );
    const list = { organizationId, messagingProfileId, profileGeneration: 0, since: 0 };
    expect((await one.listMappings(list, { after: undefined, limit: 100 })).rows).toEqual(mappings);
  });

  it("see each other's changes within two seconds, also after a lost notification", async () => {
    const number = await aNumberOf();
    const { organizationId, id } = number;
    const told: ConfigurationChange[] = [];
    await heardAll(two);
    const stop = two.watchConfiguration(async (change) => {
      told.push(change);
    });
    const change = { kind: "phone_number", organizationId, id } as const;
    await one.updateNumber(organizationId, id, (current) => ({ ...current, tags: ["x"] }));
    await vi.waitFor(() => expect(told).toEqual([change]), { timeout: SECOND, interval: 5 });
    await raw.query("UPDATE phone_numbers SET state = 'paused' WHERE id = $1", [id]);
    await raw.query("INSERT INTO configuration_changes (kind, organization_id, id) VALUES ('phone_number', $1, $2)", [
      organizationId,
      id,
    ]);
    await vi.waitFor(() => expect(told).toEqual([change, change]), { timeout: 2_500, interval: 5 });
    stop();
    expect((await two.getNumber(organizationId, id))?.number.state).toBe("paused");
  });

  it("see every change, also one that was numbered before a later one and committed after it", async () => {
    const profile = await storeProfile(one);
    const told: string[] = [];
    await heardAll(two);
    const stop = two.watchConfiguration(async ({ id }) => {
      told.push(id);
    });
    const made = await Promise.all(upTo(30).map((index) => storeNumber(index % 2 === 0 ? one : two, profile)));
    await vi.waitFor(() => expect(told).toHaveLength(30), { timeout: 3_000, interval: 5 });
    stop();
    expect(told.toSorted()).toEqual(idsOf(made).toSorted());
  });
});

describe("What carriers report to either of two processes", () => {
  const accepted = (carrierMessageId: string) => ({ kind: "accepted", at: NOON, carrierMessageId }) as const;
  const receipt = (carrierMessageId: string) => ({
    target: { carrier: "sandbox", carrierMessageId },
    report: { kind: "delivered" as const, at: NOON + 1 },
  });

  it("is applied by either", async () => {
    const number = await aNumberOf();
    const message = await storeMessage(one, number);
    await claimOne(one, number, NOON);
    await report(one, message, accepted(message.id));
    expect(await two.applyReports([receipt(message.id)])).toMatchObject([
      { messageId: message.id, status: "delivered" },
    ]);
  });

  it("finds its message although answer and receipt are written at the same moment", async () => {
    const number = await aNumberOf();
    const messages = await storeMessages(one, number, ...upTo(150).map(() => ({ status: "sending" as const })));
    const together = await Promise.all(
      messages.flatMap((message, index) => {
        const [first, second] = index % 2 === 0 ? [one, two] : [two, one];
        const answering = sleep(index % 5).then(() => report(first, message, accepted(message.id)));
        return [answering, sleep(index % 3).then(() => second.applyReports([receipt(message.id)]))];
      }),
    );
    for (const message of messages) expect(await statusOf(message)).toBe("delivered");
    const reported = together
      .flat()
      .flatMap(({ reported, followed }) => [reported, ...followed.map((f) => f.reported)]);
    expect(reported.filter((each) => each === 1)).toHaveLength(150);
    expect(
      (await raw.query("SELECT FROM unmatched_receipts WHERE carrier_message_key = ANY ($1)", [idsOf(messages)]))
        .rowCount,
    ).toBe(0);
    expectHealth((await one.loadPoolNumber(number.id))?.traffic.health, {
      ...NO_EVIDENCE,
      delivered: 150,
      asOf: NOON + 1,
    });
  });

  it("in another form is matched once by either process, while answers are written", async () => {
    // A carrier that has shown nothing yet.
    const number = await storeNumber(one, await storeProfile(one), { carrier: "hexadecimal" });
    const messages = await storeMessages(one, number, ...upTo(60).map(() => ({ status: "sending" as const })));
    const inHex = (given: ReturnType<typeof receipt>) => ({
      ...given,
      target: { ...given.target, carrier: "hexadecimal" },
    });
    const answerOf = (index: number) => (0xa00000 + index).toString(16);
    const applied = await Promise.all(
      messages.flatMap((message, index) => {
        const [first, second] = index % 2 === 0 ? [one, two] : [two, one];
        const id = String(0xa00000 + index);
        const matching = async (store: Store, at: number) => {
          await sleep(at);
          return (await store.matchReceipts({ now: NOON + 1_000, after: undefined, limit: 100 })).applied;
        };
        return [
          sleep(index % 7).then(() => report(first, message, accepted(answerOf(index)))),
          sleep(index % 3).then(() => second.applyReports([inHex(receipt(id))])),
          ...(index % 10 === 0 ? [matching(one, index), matching(two, index)] : []),
        ];
      }),
    );
    const last = await Promise.all(
      [one, two].map((store) => store.matchReceipts({ now: NOON + 1_000, after: undefined, limit: 100 })),
    );
    for (const message of messages) expect(await statusOf(message)).toBe("delivered");
    const all = [...applied, ...last.map((swept) => swept.applied)].flat();
    expect(all.filter(({ reported }) => reported === 1)).toHaveLength(60);
    expectHealth((await one.loadPoolNumber(number.id))?.traffic.health, {
      ...NO_EVIDENCE,
      delivered: 60,
      asOf: NOON + 1,
    });
  });

  it("waits for an answer that is being written, and then finds its message", async () => {
    const message = await storeMessage(one, await aNumberOf(), { status: "sending" });
    await raw.query("BEGIN");
    await raw.query("SELECT FROM messages WHERE id = $1 FOR UPDATE", [message.id]);
    const answering = report(one, message, accepted(message.id));
    await sleep(100);
    const receiving = two.applyReports([receipt(message.id)]);
    await sleep(100);
    await raw.query("ROLLBACK");
    await answering;
    expect(await receiving).toMatchObject([{ messageId: message.id }]);
    expect(await statusOf(message)).toBe("delivered");
  });

  it("does not wait for answers and receipts of other messages", async () => {
    const [answered, other] = await storeMessages(one, await aNumberOf(), { status: "sending" }, { status: "sending" });
    if (answered === undefined || other === undefined) throw new Error("messages were not stored");
    await raw.query("BEGIN");
    await raw.query("SELECT FROM messages WHERE id = $1 FOR UPDATE", [answered.id]);
    const answering = report(one, answered, accepted("answered"));
    const waitingFor = async (lock: string) => {
      const waiting = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event = $1";
      return (await raw.query(waiting, [lock])).rowCount;
    };
    await vi.waitFor(async () => expect(await waitingFor("transactionid")).toBe(1), SECOND);
    expect(await two.applyReports([receipt("nobody's")])).toMatchObject([{ messageId: undefined }]);
    expect(await report(two, other, accepted("other's"))).toMatchObject([{ messageId: other.id }]);
    // The receipt waits for the answer that is being written.
    const receiving = two.applyReports([receipt("answered")]);
    await vi.waitFor(async () => expect(await waitingFor("advisory")).toBe(1), SECOND);
    await raw.query("ROLLBACK");
    await answering;
    expect(await receiving).toMatchObject([{ messageId: answered.id, status: "delivered" }]);
  });

  it("is summed in a number's health, in any order and after any time", async () => {
    // A carrier that has shown nothing yet.
    const number = await storeNumber(one, await storeProfile(one), { carrier: "hexadecimal" });
    const messages = await storeMessages(one, number, ...upTo(60).map(() => ({ status: "sending" as const })));
    const moment = (index: number) => NOON + index * HOUR;
    await Promise.all(
      messages.map((message, index) => {
        const kinds = [
          { kind: "delivered", at: moment(index) },
          { kind: "failed", at: moment(index), error: FAILED_BY_SENDER, carrierCode: "" },
        ] as const;
        return report(index % 2 === 0 ? one : two, message, kinds[index % 3 === 0 ? 1 : 0]);
      }),
    );
    let expected = NO_EVIDENCE;
    for (const index of upTo(60)) {
      const isFailed = index % 3 === 0;
      const change = { delivered: isFailed ? 0 : 1, failed: isFailed ? 1 : 0, spam: 0, inbound: 0 };
      expected = addOutcome(expected, change, moment(index));
    }
    expectHealth((await two.loadPoolNumber(number.id))?.traffic.health, expected);

    // A count that is too small for a float is 0, and no error.
    for (const years of [3, 6, 9, 12]) {
      const later = await storeMessage(one, number, { status: "sending" });
      const at = NOON + years * 365 * HALF_LIFE_MS;
      const [applied] = await report(two, later, { kind: "delivered", at });
      expectHealth(applied?.health, { ...NO_EVIDENCE, delivered: 1, asOf: at });
    }
  });
});

/** An id that sorts just before another. */
function previous(id: string): string {
  const last = id.slice(-1);
  return last === "0" ? id.slice(0, -1) : `${id.slice(0, -1)}${(Number.parseInt(last, 16) - 1).toString(16)}`;
}
