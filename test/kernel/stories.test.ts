import { describe, expect, it } from "vitest";
import { addOutcome } from "../../src/domain/health.ts";
import { advance } from "../../src/domain/pool/advance.ts";
import { bookClaim, bookOutcome, bookQueue } from "../../src/domain/pool/book.ts";
import { undo } from "../../src/domain/pool/charge.ts";
import { decide } from "../../src/domain/pool/decide.ts";
import { changeSettings, createPool, dropNumber, putNumber } from "../../src/domain/pool/pool.ts";
import type { Pool, PoolSettings } from "../../src/domain/pool/state.ts";
import {
  ask,
  DAY,
  failures,
  HOUR,
  NOON,
  near,
  pickOf,
  poolNumber,
  poolNumbers,
  poolOf,
  refusalOf,
  SECOND,
  send,
  sendMany,
  settings,
} from "./pool-builder.ts";

const MIDNIGHT = NOON + 12 * HOUR;
const NONE_EXCLUDED = {
  weightZero: 0,
  paused: 0,
  carrierUnavailable: 0,
  draining: 0,
  unhealthy: 0,
  onTrial: 0,
  dailyLimit: 0,
  full: 0,
};

/** The number of long codes in each window of `size` senders. */
function longCodesByWindow(senders: readonly string[], size: number): number[] {
  const windows = Array.from({ length: senders.length / size }, (_, index) =>
    senders.slice(index * size, (index + 1) * size),
  );
  return windows.map((window) => window.filter((sender) => sender.startsWith("long")).length);
}

function mixedPool(rules: Partial<PoolSettings>, longCodes: number, tollFrees: number): Pool {
  return poolOf(
    rules,
    ...poolNumbers(longCodes, "long", { segmentsPerSecond: 10 }),
    ...poolNumbers(tollFrees, "free", { segmentsPerSecond: 10, lineType: "toll_free" }),
  );
}

/** Sends until the pool refuses, and returns the number of picks. */
function fill(pool: Pool): number {
  let sent = 0;
  for (; ask(pool).kind === "pick" && sent < 1_000_000; sent += 1) send(pool);
  return sent;
}

describe("Weights", () => {
  it.each([
    [1, 1],
    [5, 3],
    [1, 40],
    [200, 1],
  ])("5 and 1 give exactly five of every six to %i long codes beside %i toll-free numbers", (longCodes, tollFrees) => {
    const pool = mixedPool({ longCodeWeight: 5, tollFreeWeight: 1 }, longCodes, tollFrees);
    expect(longCodesByWindow(sendMany(pool, 1200), 6)).toEqual(Array(200).fill(5));
  });

  it("5 and 1 give five of any six in a row, from any start", () => {
    const senders = sendMany(mixedPool({ longCodeWeight: 5, tollFreeWeight: 1 }, 3, 2), 120);
    for (let from = 0; from < 6; from += 1) {
      expect(longCodesByWindow(senders.slice(from, from + 114), 6)).toEqual(Array(19).fill(5));
    }
  });

  it.each([
    [0.5, 0.1, 6, 5],
    [0.1, 0.3, 4, 1],
    [2.5, 0.5, 6, 5],
    [0.7, 0.2, 9, 7],
    [1000, 0.001, 1_000_001, undefined],
  ])("may be fractions: %d and %d share every %i", (longCodeWeight, tollFreeWeight, size, longCodes) => {
    const pool = mixedPool({ longCodeWeight, tollFreeWeight }, 2, 2);
    if (longCodes === undefined) expect(longCodesByWindow(sendMany(pool, 1000), 1000)).toEqual([1000]);
    else expect(longCodesByWindow(sendMany(pool, 100 * size), size)).toEqual(Array(100).fill(longCodes));
  });

  it("give almost nothing to a type of almost no weight", () => {
    for (const tollFreeWeight of [1e-8, 1e-9, 1e-10]) {
      const pool = mixedPool({ longCodeWeight: 1, tollFreeWeight }, 2, 2);
      expect(longCodesByWindow(sendMany(pool, 1000), 1000)).toEqual([1000]);
    }
  });

  it("are not advanced by picks of sticky senders and geography", () => {
    const pool = poolOf(
      { longCodeWeight: 5, tollFreeWeight: 1, stickySender: true, geomatch: true },
      ...poolNumbers(3, "long", { segmentsPerSecond: 10, areaCode: "212" }),
      ...poolNumbers(2, "free", { segmentsPerSecond: 10, lineType: "toll_free" }),
    );
    const weighed: string[] = [];
    for (let message = 0; message < 600; message += 1) {
      const mapped = { numberId: message % 3 === 0 ? "long1" : "free2", generation: 0 };
      if (message % 2 === 0) expect(send(pool, { sticky: mapped }).rule).toBe("sticky");
      if (message % 5 < 3) expect(send(pool, { near: near("646") }).rule).toBe("geomatch");
      const sent = send(pool, message % 7 === 0 ? { near: near("415") } : {});
      expect(sent).toMatchObject({ rule: "weights", tier: message % 7 === 0 ? "any" : undefined });
      weighed.push(sent.sender);
    }
    expect(longCodesByWindow(weighed, 6)).toEqual(Array(100).fill(5));
  });

  it("are not advanced while one type has no candidate", () => {
    const pool = mixedPool({ longCodeWeight: 5, tollFreeWeight: 1 }, 2, 1);
    const tollFree = poolNumber("free1", { lineType: "toll_free" });
    const weighed = sendMany(pool, 2);
    putNumber(pool, { ...tollFree, state: "paused" });
    for (let message = 0; message < 10; message += 1) expect(send(pool).rule).toBe("leastLoaded");
    putNumber(pool, tollFree);
    weighed.push(...sendMany(pool, 4));
    expect(longCodesByWindow(weighed, 6)).toEqual([5]);
  });

  it("of 0 remove the type", () => {
    const pool = mixedPool({ longCodeWeight: 0, tollFreeWeight: 2 }, 3, 2);
    expect(sendMany(pool, 4)).toEqual(["free1", "free2", "free1", "free2"]);
    expect(pickOf(pool)).toMatchObject({
      rule: "leastLoaded",
      poolSize: 5,
      eligible: 2,
      excluded: { ...NONE_EXCLUDED, weightZero: 3 },
    });
  });

  it("restart when they change", () => {
    const pool = mixedPool({ longCodeWeight: 1, tollFreeWeight: 1 }, 2, 2);
    sendMany(pool, 3);
    changeSettings(pool, settings({ longCodeWeight: 1, tollFreeWeight: 3 }));
    expect(longCodesByWindow(sendMany(pool, 40), 4)).toEqual(Array(10).fill(1));
  });
});

describe("The least loaded number", () => {
  it("is the least recently used one while all are idle", () => {
    const pool = poolOf(
      {},
      poolNumber("a", { lastUsed: 3 }),
      poolNumber("b", { lastUsed: 1 }),
      poolNumber("c", { lastUsed: 2 }),
    );
    expect(sendMany(pool, 3)).toEqual(["b", "c", "a"]);
    advance(pool, NOON + HOUR);
    expect(sendMany(pool, 3)).toEqual(["b", "c", "a"]);
  });

  it("is the least recently used of equally loaded ones, by uses before the pool's start too", () => {
    const pool = poolOf(
      {},
      poolNumber("busy", { nextFree: NOON + SECOND, lastUsed: 100 }),
      poolNumber("idle", { lastUsed: 101 }),
    );
    expect(sendMany(pool, 4)).toEqual(["idle", "busy", "idle", "busy"]);
  });

  it("is the first to be free while all are busy, and the pick has its wait", () => {
    const pool = poolOf(
      {},
      poolNumber("slow", { segmentsPerSecond: 0.1 }),
      poolNumber("fast", { segmentsPerSecond: 1, lastUsed: 1 }),
    );
    const sent = Array.from({ length: 13 }, () => send(pool));
    expect(sent.filter(({ sender }) => sender === "slow")).toHaveLength(2);
    expect(sent.map(({ waitMs }) => waitMs / SECOND)).toEqual([0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10]);
  });

  it("keeps its load and last use when its other fields change", () => {
    const pool = poolOf({}, ...poolNumbers(2, "n"));
    sendMany(pool, 8);
    putNumber(pool, poolNumber("n1", { segmentsPerSecond: 2, lastUsed: 99, nextFree: 0 }));
    expect(pickOf(pool)).toMatchObject({ sender: "n1", waitMs: 2 * SECOND });
    putNumber(pool, poolNumber("n1", { segmentsPerSecond: 0.5 }));
    expect(pickOf(pool)).toMatchObject({ sender: "n2", waitMs: 4 * SECOND });
  });

  it("stays the least recently used when its other fields change while it is idle", () => {
    const pool = poolOf({}, ...poolNumbers(2, "n"));
    sendMany(pool, 2);
    advance(pool, NOON + HOUR);
    putNumber(pool, poolNumber("n1", { dailySegmentLimit: 1000 }));
    expect(pickOf(pool).sender).toBe("n1");
  });
});

describe("A sticky sender", () => {
  const mapped = { numberId: "mine", generation: 0 };
  const rules = { stickySender: true, skipUnhealthy: true };
  const other = poolNumber("other", { lastUsed: 1 });

  it("stays although others are less loaded", () => {
    const pool = poolOf(rules, poolNumber("mine", { nextFree: NOON + HOUR }), other);
    expect(send(pool, { sticky: mapped })).toMatchObject({
      sender: "mine",
      rule: "sticky",
      tier: undefined,
      isFallback: false,
      waitMs: HOUR,
    });
    expect(pickOf(pool, { sticky: mapped }).waitMs).toBe(HOUR + SECOND);
  });

  it("comes before geography", () => {
    const pool = poolOf({ ...rules, geomatch: true }, poolNumber("mine", { areaCode: "415" }), {
      ...other,
      areaCode: "212",
    });
    expect(pickOf(pool, { sticky: mapped, near: near("212") }).rule).toBe("sticky");
  });

  it("is ignored when sticky is off", () => {
    const pool = poolOf({}, poolNumber("mine", { nextFree: NOON + HOUR }), other);
    expect(pickOf(pool, { sticky: mapped })).toMatchObject({ sender: "other", rule: "leastLoaded", isFallback: false });
  });

  it.each([
    ["unhealthy", poolNumber("mine", { health: failures(20) })],
    ["paused", poolNumber("mine", { state: "paused" })],
    ["of a type with weight 0", poolNumber("mine", { lineType: "toll_free" })],
    ["of another generation", poolNumber("mine", { generation: 1, nextFree: NOON + HOUR })],
    ["no longer in the pool", poolNumber("stranger", { state: "paused" })],
  ])("is replaced when it is %s", (_, mine) => {
    const pool = poolOf({ ...rules, tollFreeWeight: 0 }, mine, other);
    expect(pickOf(pool, { sticky: mapped })).toMatchObject({ sender: "other", isFallback: false });
  });

  it("stays while unhealthy when unhealthy numbers are not skipped", () => {
    const pool = poolOf(
      { stickySender: true },
      poolNumber("mine", { health: failures(20), nextFree: NOON + HOUR }),
      other,
    );
    expect(pickOf(pool, { sticky: mapped })).toMatchObject({ sender: "mine", rule: "sticky" });
  });

  it("is replaced after its removal, and stays replaced when it returns", () => {
    const pool = poolOf(rules, poolNumber("mine", { nextFree: NOON + HOUR }), other);
    dropNumber(pool, "mine");
    expect(pickOf(pool, { sticky: mapped })).toMatchObject({ sender: "other", isFallback: false, poolSize: 1 });
    putNumber(pool, poolNumber("mine", { generation: 1, nextFree: NOON + HOUR }));
    expect(pickOf(pool, { sticky: mapped }).sender).toBe("other");
    expect(pickOf(pool, { sticky: { ...mapped, generation: 1 } }).sender).toBe("mine");
  });

  it.each([
    ["its queue is full", poolNumber("mine", { nextFree: NOON + 3 * HOUR })],
    ["its day is used up", poolNumber("mine", { dailySegmentLimit: 5, usedToday: 5, day: Math.floor(NOON / DAY) })],
    ["it is on trial with a message unreported", poolNumber("mine", { health: failures(11), unreported: 1 })],
  ])("has a fallback when %s", (_, mine) => {
    const pool = poolOf(rules, mine, other);
    expect(pickOf(pool, { sticky: mapped })).toMatchObject({ sender: "other", rule: "leastLoaded", isFallback: true });
  });

  it("has a fallback in the recipient's area under geomatch", () => {
    const pool = poolOf({ ...rules, geomatch: true }, poolNumber("mine", { nextFree: NOON + 3 * HOUR }), {
      ...other,
      areaCode: "212",
    });
    expect(pickOf(pool, { sticky: mapped, near: near("212") })).toMatchObject({ rule: "geomatch", isFallback: true });
  });

  it("has a fallback when it has no room for so many segments", () => {
    const pool = poolOf(rules, poolNumber("mine", { nextFree: NOON + 3 * HOUR - 4 * SECOND }), other);
    expect(pickOf(pool, { sticky: mapped, segments: 5 })).toMatchObject({ sender: "other", isFallback: true });
    expect(pickOf(pool, { sticky: mapped, segments: 4 })).toMatchObject({ sender: "mine", isFallback: false });
  });

  it("that is draining serves its recipients and an explicit from, but no new recipients", () => {
    const pool = poolOf(rules, poolNumber("mine", { state: "draining" }), { ...other, nextFree: NOON + HOUR });
    expect(send(pool, { sticky: mapped })).toMatchObject({ sender: "mine", rule: "sticky" });
    expect(send(pool, { from: "mine" })).toMatchObject({ sender: "mine", rule: "from" });
    expect(send(pool)).toMatchObject({ sender: "other", eligible: 1, excluded: { ...NONE_EXCLUDED, draining: 1 } });
    dropNumber(pool, "other");
    expect(refusalOf(pool)).toMatchObject({ because: "nothingUsable", excluded: { ...NONE_EXCLUDED, draining: 1 } });
  });
});

describe("Geomatch", () => {
  const rules = { geomatch: true };
  const sameArea = poolNumber("same area", { areaCode: "212", lastUsed: 4 });
  const overlay = poolNumber("overlay", { areaCode: "646", lastUsed: 3 });
  const sameState = poolNumber("same state", { areaCode: "315", lastUsed: 2 });
  const elsewhere = poolNumber("elsewhere", { areaCode: "415", lastUsed: 1 });
  const tollFree = poolNumber("toll-free", { lineType: "toll_free" });
  const full = { nextFree: NOON + 3 * HOUR };

  it("picks the same area code, then its overlays, then the same state, then any", () => {
    const pool = poolOf(rules, sameArea, overlay, sameState, elsewhere);
    const request = { near: near("212") };
    const found = ["same area", "overlay", "same state", "elsewhere"].map((sender) => {
      const pick = pickOf(pool, request);
      dropNumber(pool, sender);
      return [pick.sender, pick.rule, pick.tier];
    });
    expect(found).toEqual([
      ["same area", "geomatch", "areaCode"],
      ["overlay", "geomatch", "overlay"],
      ["same state", "geomatch", "region"],
      ["elsewhere", "leastLoaded", "any"],
    ]);
  });

  it("picks the nearest number, however loaded", () => {
    const pool = poolOf(rules, { ...sameArea, nextFree: NOON + 2 * HOUR }, overlay, sameState, elsewhere);
    expect(send(pool, { near: near("212") }).sender).toBe("same area");
  });

  it("falls back to the next tier when one is full", () => {
    const pool = poolOf(rules, { ...sameArea, ...full }, { ...overlay, ...full }, sameState, elsewhere);
    expect(pickOf(pool, { near: near("212") })).toMatchObject({ sender: "same state", tier: "region" });
    expect(pickOf(pool, { near: near("646") })).toMatchObject({ sender: "same state", tier: "region" });
    advance(pool, NOON + SECOND);
    expect(pickOf(pool, { near: near("212") })).toMatchObject({ sender: "same area", tier: "areaCode" });
  });

  it("falls back to the next tier when one has no room for so many segments", () => {
    const pool = poolOf(rules, { ...sameArea, nextFree: NOON + 3 * HOUR - 2 * SECOND }, overlay);
    expect(pickOf(pool, { near: near("212"), segments: 2 }).tier).toBe("areaCode");
    expect(pickOf(pool, { near: near("212"), segments: 3 }).tier).toBe("overlay");
  });

  it("picks the least loaded of a tier, over all overlays together", () => {
    const pool = poolOf(
      rules,
      poolNumber("332", { areaCode: "332", nextFree: NOON + 3 }),
      poolNumber("646", { areaCode: "646", nextFree: NOON + 1 }),
      poolNumber("917", { areaCode: "917", nextFree: NOON + 2 }),
    );
    expect(sendMany(pool, 4, { near: near("212") })).toEqual(["646", "917", "332", "646"]);
  });

  it("gives toll-free numbers no geography", () => {
    const pool = poolOf(rules, sameState, tollFree);
    expect(pickOf(pool, { near: near("415") })).toMatchObject({ rule: "weights", tier: "any" });
    dropNumber(pool, "same state");
    expect(pickOf(pool, { near: near("212") })).toMatchObject({
      sender: "toll-free",
      rule: "leastLoaded",
      tier: "any",
    });
  });

  it("has no tier for recipients without geography, or when it is off", () => {
    const pool = poolOf(rules, sameArea, elsewhere);
    expect(pickOf(pool)).toMatchObject({ sender: "elsewhere", rule: "leastLoaded", tier: undefined });
    changeSettings(pool, settings());
    expect(pickOf(pool, { near: near("212") })).toMatchObject({ sender: "elsewhere", tier: undefined });
  });

  it("does not pick a type with weight 0, or a paused or unhealthy number", () => {
    const pool = poolOf(
      { ...rules, skipUnhealthy: true, longCodeWeight: 1 },
      { ...sameArea, state: "paused" },
      { ...overlay, health: failures(20) },
      { ...sameState, state: "draining" },
      tollFree,
    );
    expect(pickOf(pool, { near: near("212") }).sender).toBe("toll-free");
    changeSettings(pool, settings({ geomatch: true, longCodeWeight: 0 }));
    expect(pickOf(pool, { near: near("212") }).sender).toBe("toll-free");
  });
});

describe("Room", () => {
  it("is three hours of the number's rate: at 0.001 a second ten messages fit and the eleventh is refused", () => {
    const pool = poolOf({}, poolNumber("a", { segmentsPerSecond: 0.001 }));
    sendMany(pool, 10);
    const refused = refusalOf(pool);
    expect(refused).toMatchObject({ kind: "refuse", because: "full", retryAfterMs: 200 * SECOND, eligible: 0 });
    expect(refused.excluded).toEqual({ ...NONE_EXCLUDED, full: 1 });
    advance(pool, NOON + 200 * SECOND - 1);
    expect(refusalOf(pool)).toMatchObject({ because: "full", retryAfterMs: 1 });
    advance(pool, NOON + 200 * SECOND);
    expect(send(pool)).toMatchObject({ sender: "a", waitMs: 9_800 * SECOND, eligible: 1 });
    expect(refusalOf(pool).retryAfterMs).toBe(1_000 * SECOND);
  });

  it.each([0.001, 0.007, 0.3, 1, 3])(
    "holds exactly the segments of three hours at a rate of %d",
    (segmentsPerSecond) => {
      const pool = poolOf({}, poolNumber("a", { segmentsPerSecond }));
      expect(fill(pool)).toBe(Math.floor(10_800 * segmentsPerSecond));
      const wait = Math.ceil(refusalOf(pool).retryAfterMs as number);
      advance(pool, NOON + wait - 2);
      expect(refusalOf(pool).because).toBe("full");
      advance(pool, NOON + wait);
      expect(send(pool).sender).toBe("a");
    },
  );

  it.each([0.6, 1.5, 6])("holds as much at a rate of %d, whose segments take fractions of milliseconds", (rate) => {
    expect(fill(poolOf({}, poolNumber("a", { segmentsPerSecond: rate })))).toBe(10_800 * rate);
  });

  it("is counted in segments", () => {
    const pool = poolOf({}, poolNumber("a", { segmentsPerSecond: 0.001 }));
    send(pool, { segments: 7 });
    expect(refusalOf(pool, { segments: 4 })).toMatchObject({
      because: "full",
      retryAfterMs: 200 * SECOND,
      eligible: 1,
    });
    send(pool, { segments: 3 });
    expect(refusalOf(pool, { segments: 10 }).retryAfterMs).toBe(9_200 * SECOND);
    advance(pool, NOON + 9_200 * SECOND);
    expect(send(pool, { segments: 10 }).sender).toBe("a");
  });

  it("is searched at other numbers when the least loaded one is too slow for so many segments", () => {
    const pool = poolOf(
      {},
      ...poolNumbers(20, "slow", { segmentsPerSecond: 0.001, nextFree: NOON + 1_000 * SECOND }),
      poolNumber("fast", { segmentsPerSecond: 1, nextFree: NOON + 2 * HOUR }),
    );
    expect(pickOf(pool, { segments: 9 }).sender).toMatch("slow");
    expect(pickOf(pool, { segments: 10 }).sender).toBe("fast");
  });

  it("ends with the daily limit, and returns at 00:00 UTC", () => {
    const pool = poolOf({}, poolNumber("a", { dailySegmentLimit: 10 }));
    send(pool, { segments: 7 });
    expect(refusalOf(pool, { segments: 4 })).toMatchObject({ because: "full", retryAfterMs: 12 * HOUR, eligible: 1 });
    advance(pool, NOON + HOUR);
    send(pool, { segments: 3 });
    expect(refusalOf(pool)).toMatchObject({
      because: "full",
      retryAfterMs: 11 * HOUR,
      excluded: { ...NONE_EXCLUDED, dailyLimit: 1 },
    });
    advance(pool, MIDNIGHT - 1);
    expect(refusalOf(pool)).toMatchObject({ because: "full", retryAfterMs: 1 });
    advance(pool, MIDNIGHT);
    expect(send(pool, { segments: 10 })).toMatchObject({ sender: "a", excluded: NONE_EXCLUDED });
    expect(refusalOf(pool).retryAfterMs).toBe(24 * HOUR);
  });

  it("counts the segments of today, not of another day", () => {
    const day = Math.floor(NOON / DAY);
    const pool = poolOf(
      {},
      poolNumber("today", { dailySegmentLimit: 5, usedToday: 5, day }),
      poolNumber("yesterday", { dailySegmentLimit: 5, usedToday: 5, day: day - 1 }),
    );
    expect(sendMany(pool, 5)).toEqual(Array(5).fill("yesterday"));
    expect(refusalOf(pool).excluded).toEqual({ ...NONE_EXCLUDED, dailyLimit: 2 });
  });

  it("is free again today when the queue no longer waits for midnight", () => {
    const pool = poolOf({}, poolNumber("a", { dailySegmentLimit: 100 }));
    sendMany(pool, 10);
    const evening = NOON + 10 * HOUR;
    advance(pool, evening);
    // The limit was lower, and a claim found that nothing leaves before midnight.
    bookClaim(pool, "a", 0, NOON + 12 * HOUR);
    expect(pickOf(pool).waitMs).toBe(2 * HOUR + 10 * SECOND);
    send(pool);
    bookClaim(pool, "a", 1, evening + SECOND);
    expect(pickOf(pool).waitMs).toBe(11 * SECOND);
    expect(sendMany(pool, 20)).toHaveLength(20);
  });

  it("regains what left the queue unsent, not what was sent", () => {
    const pool = poolOf({}, poolNumber("a", { dailySegmentLimit: 10 }));
    sendMany(pool, 10);
    bookQueue(pool, "a", -2);
    expect(refusalOf(pool).excluded).toEqual({ ...NONE_EXCLUDED, dailyLimit: 1 });
    bookQueue(pool, "a", -3, true);
    expect(sendMany(pool, 3)).toEqual(Array(3).fill("a"));
    expect(refusalOf(pool).excluded).toEqual({ ...NONE_EXCLUDED, dailyLimit: 1 });
  });

  it("is not promised at midnight when the queue is still full then", () => {
    const pool = poolOf({}, poolNumber("a", { segmentsPerSecond: 0.001, dailySegmentLimit: 10 }));
    advance(pool, MIDNIGHT - 10 * SECOND);
    sendMany(pool, 10);
    const { because, retryAfterMs } = refusalOf(pool);
    expect(because).toBe("full");
    advance(pool, pool.now + (retryAfterMs as number));
    expect(ask(pool).kind).toBe("pick");
  });

  it("is not promised to a message that is longer than the daily limit", () => {
    for (const dailySegmentLimit of [0, 9]) {
      const pool = poolOf({}, poolNumber("a", { dailySegmentLimit }));
      expect(refusalOf(pool, { segments: 10 }), `limit ${dailySegmentLimit}`).toMatchObject({
        because: "nothingUsable",
        retryAfterMs: undefined,
      });
    }
  });

  it("is promised by the number that has it first", () => {
    const pool = poolOf(
      {},
      poolNumber("a", { nextFree: NOON + 3 * HOUR + 40 * SECOND }),
      poolNumber("b", { nextFree: NOON + 3 * HOUR + 30 * SECOND, lineType: "toll_free" }),
      poolNumber("c", { nextFree: NOON + 3 * HOUR + 50 * SECOND }),
    );
    expect(refusalOf(pool)).toMatchObject({ because: "full", retryAfterMs: 31 * SECOND, poolSize: 3 });
  });

  it("is not regained when the clock steps back", () => {
    const pool = poolOf({}, poolNumber("a"));
    send(pool);
    advance(pool, NOON - HOUR);
    expect(pickOf(pool).waitMs).toBe(SECOND);
  });
});

describe("An explicit from", () => {
  it("is that number, whatever its type's weight, its load or its state but paused", () => {
    const pool = poolOf(
      { tollFreeWeight: 0, stickySender: true, geomatch: true },
      poolNumber("weight 0", { lineType: "toll_free" }),
      poolNumber("busy", { nextFree: NOON + HOUR }),
      poolNumber("draining", { state: "draining" }),
      poolNumber("near", { areaCode: "212" }),
    );
    for (const from of ["weight 0", "busy", "draining"]) {
      const request = { from, near: near("212"), sticky: { numberId: "near", generation: 0 } };
      expect(pickOf(pool, request)).toMatchObject({ sender: from, rule: "from", tier: undefined, isFallback: false });
    }
  });

  it("is accepted while the pool is off", () => {
    const pool = createPool(undefined, [poolNumber("a")], NOON);
    expect(pickOf(pool, { from: "a" })).toMatchObject({ sender: "a", rule: "from" });
  });

  it("is refused when it is not in the pool", () => {
    const pool = poolOf({}, poolNumber("a"), poolNumber("b"));
    dropNumber(pool, "b");
    expect(refusalOf(pool, { from: "b" })).toMatchObject({
      because: "fromUnknown",
      retryAfterMs: undefined,
      poolSize: 1,
    });
    expect(refusalOf(pool, { from: "c" }).because).toBe("fromUnknown");
  });

  it("is refused when it is paused", () => {
    const pool = poolOf({}, poolNumber("a", { state: "paused" }), poolNumber("b"));
    expect(refusalOf(pool, { from: "a" })).toMatchObject({ because: "fromPaused", eligible: 1 });
  });

  it("is refused when it is unhealthy, only if unhealthy numbers are skipped", () => {
    const pool = poolOf({ skipUnhealthy: true }, poolNumber("a", { health: failures(12) }));
    expect(refusalOf(pool, { from: "a" })).toMatchObject({ because: "fromUnhealthy", retryAfterMs: undefined });
    changeSettings(pool, settings());
    expect(pickOf(pool, { from: "a" }).sender).toBe("a");
    changeSettings(pool, settings({ skipUnhealthy: true, longCodeWeight: 0 }));
    expect(refusalOf(pool, { from: "a" }).because).toBe("fromUnhealthy");
    advance(pool, NOON + 2 * HOUR);
    expect(pickOf(pool, { from: "a" }).sender).toBe("a");
  });

  it("is refused with its own waiting time when it is full, although others have room", () => {
    const pool = poolOf({}, poolNumber("a", { segmentsPerSecond: 0.001 }), poolNumber("b"));
    send(pool, { from: "a", segments: 10 });
    expect(refusalOf(pool, { from: "a" })).toMatchObject({ because: "full", retryAfterMs: 200 * SECOND });
    advance(pool, NOON + 200 * SECOND);
    expect(send(pool, { from: "a" }).sender).toBe("a");
  });

  it("loads the number and does not advance the weights", () => {
    const pool = poolOf({}, poolNumber("long"), poolNumber("free", { lineType: "toll_free" }));
    send(pool, { from: "free" });
    send(pool, { from: "long" });
    expect(pickOf(pool, { from: "long" }).waitMs).toBe(SECOND);
    expect(sendMany(pool, 4)).toEqual(["long", "free", "long", "free"]);
  });
});

describe("A pool with nothing to pick", () => {
  it("reports that it is off", () => {
    const pool = createPool(undefined, poolNumbers(2, "n"), NOON);
    expect(refusalOf(pool)).toMatchObject({ because: "poolOff", retryAfterMs: undefined, poolSize: 2, eligible: 0 });
    changeSettings(pool, settings());
    expect(pickOf(pool).sender).toBe("n1");
    changeSettings(pool, undefined);
    expect(refusalOf(pool).because).toBe("poolOff");
  });

  it("reports that it has no numbers", () => {
    const pool = poolOf({});
    expect(refusalOf(pool)).toMatchObject({ because: "noNumbers", poolSize: 0, eligible: 0, excluded: NONE_EXCLUDED });
    putNumber(pool, poolNumber("a"));
    dropNumber(pool, "a");
    dropNumber(pool, "a");
    expect(refusalOf(pool)).toMatchObject({ because: "noNumbers", poolSize: 0, excluded: NONE_EXCLUDED });
  });

  it("reports that all weights are 0", () => {
    const pool = mixedPool({ longCodeWeight: 0, tollFreeWeight: 0 }, 3, 2);
    expect(refusalOf(pool)).toMatchObject({
      because: "nothingUsable",
      retryAfterMs: undefined,
      poolSize: 5,
      eligible: 0,
      excluded: { ...NONE_EXCLUDED, weightZero: 5 },
    });
  });

  it("reports that all are paused", () => {
    const pool = poolOf({}, ...poolNumbers(3, "n", { state: "paused" }));
    expect(refusalOf(pool)).toMatchObject({ because: "nothingUsable", excluded: { ...NONE_EXCLUDED, paused: 3 } });
  });

  it("reports that all are unhealthy, only if they are skipped, and recovers with time", () => {
    const pool = poolOf({ skipUnhealthy: true }, ...poolNumbers(4, "n", { health: failures(24) }));
    expect(refusalOf(pool)).toMatchObject({ because: "nothingUsable", excluded: { ...NONE_EXCLUDED, unhealthy: 4 } });
    changeSettings(pool, settings());
    expect(pickOf(pool)).toMatchObject({ eligible: 4, excluded: NONE_EXCLUDED });
    changeSettings(pool, settings({ skipUnhealthy: true }));
    advance(pool, NOON + DAY);
    expect(refusalOf(pool).because).toBe("nothingUsable");
    advance(pool, NOON + DAY + 2 * HOUR);
    expect(pickOf(pool)).toMatchObject({ eligible: 4, excluded: NONE_EXCLUDED });
  });

  it("counts each number once, by the first cause that holds", () => {
    const broken = { health: failures(20), nextFree: NOON + 4 * HOUR, dailySegmentLimit: 0 };
    const pool = poolOf(
      { skipUnhealthy: true, tollFreeWeight: 0 },
      poolNumber("1", { ...broken, state: "paused", lineType: "toll_free" }),
      poolNumber("2", { ...broken, state: "paused" }),
      poolNumber("3", { ...broken, state: "draining" }),
      poolNumber("4", broken),
      poolNumber("5", { health: failures(11), unreported: 1, nextFree: NOON + 4 * HOUR }),
      poolNumber("gone", { ...broken, carrierUnavailable: true, state: "draining" }),
      poolNumber("6", { dailySegmentLimit: 3, usedToday: 3, day: Math.floor(NOON / DAY) }),
      poolNumber("7", { nextFree: NOON + 4 * HOUR }),
    );
    expect(refusalOf(pool)).toMatchObject({
      because: "full",
      poolSize: 8,
      eligible: 0,
      excluded: {
        weightZero: 1,
        paused: 1,
        carrierUnavailable: 1,
        draining: 1,
        unhealthy: 1,
        onTrial: 1,
        dailyLimit: 1,
        full: 1,
      },
    });
  });

  it("is full, not unusable, if any candidate is only full", () => {
    const pool = poolOf({}, poolNumber("a", { state: "paused" }), poolNumber("b", { nextFree: NOON + 3 * HOUR }));
    expect(refusalOf(pool)).toMatchObject({
      because: "full",
      retryAfterMs: SECOND,
      excluded: { ...NONE_EXCLUDED, paused: 1, full: 1 },
    });
  });
});

describe("A recipient that is a number of the pool itself", () => {
  it("is never its own sender, even if sticky or near", () => {
    const pool = poolOf(
      { stickySender: true, geomatch: true },
      poolNumber("me", { areaCode: "212" }),
      poolNumber("b", { lastUsed: 1 }),
    );
    const request = { except: "me", sticky: { numberId: "me", generation: 0 }, near: near("212") };
    expect(sendMany(pool, 5, request)).toEqual(Array(5).fill("b"));
    expect(pickOf(pool, request)).toMatchObject({ isFallback: false, rule: "leastLoaded", tier: "any" });
  });

  it("is excluded anywhere in the order, and an unknown one excludes none", () => {
    for (const except of ["n1", "n2", "n3", "stranger"]) {
      const pool = poolOf({}, ...poolNumbers(3, "n"));
      const expected = ["n1", "n2", "n3"].filter((id) => id !== except);
      expect(sendMany(pool, expected.length, { except })).toEqual(expected);
    }
  });

  it("excludes its type when it is the only one of it, without advancing the weights", () => {
    const pool = mixedPool({ longCodeWeight: 1, tollFreeWeight: 1 }, 1, 1);
    expect(sendMany(pool, 3, { except: "long1" })).toEqual(["free1", "free1", "free1"]);
    expect(sendMany(pool, 2)).toEqual(["long1", "free1"]);
  });

  it("has no sender when the pool has no other number", () => {
    const pool = poolOf({}, poolNumber("me"));
    expect(refusalOf(pool, { except: "me" })).toMatchObject({ because: "nothingUsable", retryAfterMs: undefined });
  });

  it("waits for the others' room, not its own", () => {
    const pool = poolOf({}, poolNumber("me"), poolNumber("b", { nextFree: NOON + 3 * HOUR }));
    expect(refusalOf(pool, { except: "me" })).toMatchObject({ because: "full", retryAfterMs: SECOND });
  });
});

describe("A preview", () => {
  it("changes nothing", () => {
    const pool = poolOf(
      { longCodeWeight: 5, skipUnhealthy: true, stickySender: true, geomatch: true },
      ...poolNumbers(5, "long", { areaCode: "212", segmentsPerSecond: 0.01 }),
      ...poolNumbers(2, "free", { lineType: "toll_free" }),
      poolNumber("trial", { health: failures(11) }),
      poolNumber("unhealthy", { health: failures(20) }),
      poolNumber("paused", { state: "paused" }),
      poolNumber("full", { nextFree: NOON + 3 * HOUR }),
    );
    sendMany(pool, 20);
    const requests = [
      { segments: 1 },
      { segments: 10 },
      { segments: 1, near: near("646") },
      { segments: 10, near: near("415"), except: "long2" },
      { segments: 1, sticky: { numberId: "long3", generation: 0 } },
      { segments: 1, sticky: { numberId: "full", generation: 0 } },
      { segments: 1, sticky: { numberId: "unhealthy", generation: 0 } },
      ...["free1", "full", "paused", "unhealthy", "trial", "stranger"].map((from) => ({ segments: 2, from })),
    ];
    const before = structuredClone(pool);
    const first = requests.map((request) => decide(pool, request));
    expect(requests.map((request) => decide(pool, request))).toEqual(first);
    expect(pool).toEqual(before);
  });

  it("gives the sender of the next message", () => {
    const pool = mixedPool({ longCodeWeight: 5, tollFreeWeight: 1 }, 3, 2);
    for (let message = 0; message < 60; message += 1) {
      const { sender, rule, waitMs } = pickOf(pool);
      expect(send(pool)).toMatchObject({ sender, rule, waitMs });
    }
  });

  it("keeps its counts when the pool changes", () => {
    const pool = poolOf({}, ...poolNumbers(2, "n"));
    const preview = pickOf(pool);
    putNumber(pool, poolNumber("n1", { state: "paused" }));
    expect(preview).toMatchObject({ eligible: 2, excluded: NONE_EXCLUDED });
  });
});

describe("A charge that is undone", () => {
  it("leaves the number as it was", () => {
    const pool = mixedPool({ longCodeWeight: 5, tollFreeWeight: 1 }, 2, 1);
    const { charged } = send(pool);
    undo(pool, charged);
    expect(longCodesByWindow(sendMany(pool, 60), 6)).toEqual(Array(10).fill(5));
  });

  it("makes room again", () => {
    const pool = poolOf({ skipUnhealthy: true }, poolNumber("a", { dailySegmentLimit: 3, health: failures(11) }));
    const { charged } = send(pool, { segments: 3 });
    expect(refusalOf(pool).excluded).toEqual({ ...NONE_EXCLUDED, onTrial: 1 });
    undo(pool, charged);
    expect(send(pool, { segments: 3 })).toMatchObject({ sender: "a", waitMs: 0 });
  });

  it("keeps later charges", () => {
    const pool = poolOf({}, poolNumber("a", { dailySegmentLimit: 10 }));
    const { charged } = send(pool, { segments: 4 });
    send(pool, { segments: 3 });
    undo(pool, charged);
    expect(pickOf(pool)).toMatchObject({ waitMs: 3 * SECOND });
    expect(ask(pool, { segments: 7 }).kind).toBe("pick");
    expect(ask(pool, { segments: 8 }).kind).toBe("refuse");
  });

  it("leaves no wait when the number was reloaded in between", () => {
    const pool = poolOf({}, poolNumber("a"));
    const charges = Array.from({ length: 50 }, () => send(pool).charged);
    putNumber(pool, poolNumber("a", { nextFree: NOON }));
    for (const charged of charges.toReversed()) undo(pool, charged);
    expect(pickOf(pool)).toMatchObject({ sender: "a", waitMs: 0 });
    expect(pool.slots[0]).toMatchObject({ queuedSegments: 0, unreported: 0 });
  });

  it("keeps the day's charges when it was made the day before", () => {
    const pool = poolOf({}, poolNumber("a", { dailySegmentLimit: 10 }));
    const { charged } = send(pool, { segments: 4 });
    advance(pool, MIDNIGHT);
    send(pool, { segments: 7 });
    undo(pool, charged);
    expect(ask(pool, { segments: 3 }).kind).toBe("pick");
    expect(ask(pool, { segments: 4 }).kind).toBe("refuse");
  });

  it("does not return a number that was removed meanwhile", () => {
    const pool = poolOf({}, poolNumber("a"), poolNumber("b", { nextFree: NOON + HOUR }));
    const { charged } = send(pool);
    dropNumber(pool, "a");
    undo(pool, charged);
    expect(pickOf(pool)).toMatchObject({ sender: "b", poolSize: 1, eligible: 1, excluded: NONE_EXCLUDED });
  });

  it("does not decrement a cause for a number that was removed meanwhile", () => {
    const pool = poolOf({}, poolNumber("a", { dailySegmentLimit: 1 }));
    const { charged } = send(pool);
    dropNumber(pool, "a");
    undo(pool, charged);
    expect(refusalOf(pool)).toMatchObject({ because: "noNumbers", poolSize: 0, eligible: 0, excluded: NONE_EXCLUDED });
  });

  it("does not change the number that took the slot of a removed one", () => {
    const pool = poolOf({}, poolNumber("a"));
    const { charged } = send(pool);
    dropNumber(pool, "a");
    putNumber(pool, poolNumber("b", { nextFree: NOON + HOUR }));
    undo(pool, charged);
    expect(pickOf(pool)).toMatchObject({ sender: "b", waitMs: HOUR });
  });

  it("does not advance a round robin other than its own", () => {
    const pool = mixedPool({ longCodeWeight: 5, tollFreeWeight: 1 }, 2, 1);
    const { charged } = send(pool);
    changeSettings(pool, settings({ longCodeWeight: 1, tollFreeWeight: 2 }));
    undo(pool, charged);
    expect(longCodesByWindow(sendMany(pool, 30), 3)).toEqual(Array(10).fill(1));
  });
});

describe("Outcomes", () => {
  it("count for the very next decision", () => {
    const pool = poolOf(
      { skipUnhealthy: true },
      poolNumber("a", { health: failures(11) }),
      poolNumber("b", { nextFree: NOON + HOUR }),
    );
    expect(send(pool).sender).toBe("a");
    bookOutcome(pool, "a", addOutcome(failures(11), { delivered: 0, failed: 1, spam: 0, inbound: 0 }, NOON), 1);
    expect(pickOf(pool)).toMatchObject({ sender: "b", excluded: { ...NONE_EXCLUDED, unhealthy: 1 } });
  });

  it("of unknown numbers are ignored", () => {
    const pool = poolOf({}, poolNumber("a"));
    const before = structuredClone(pool);
    bookOutcome(pool, "stranger", failures(20), 1);
    bookOutcome(pool, "a", undefined, 0);
    expect(pool).toEqual(before);
  });
});
