import { randomBytes } from "node:crypto";
import Database from "better-sqlite3";
import { createIds } from "../src/domain/ids.ts";
import type { Message } from "../src/domain/message.ts";
import type { PhoneNumber } from "../src/domain/phone-number-record.ts";
import { MESSAGE_COLUMNS, messageValues } from "../src/store/codecs/message.ts";
import { openSqliteStore } from "../src/store/sqlite/sqlite-store.ts";
import { AREA_CODES } from "./requests.ts";

/** A filled database file, and the profile of its messages. */
export type Filled = { readonly path: string; readonly profileId: string };

/** The content of a filled database. */
export type Filling = {
  readonly path: string;
  readonly numbers: number;
  readonly messages: number;
  readonly status: "queued" | "delivered";
  /** Time from now until the numbers may be claimed. */
  readonly dueInMs: number;
  readonly segmentsPerSecond: number;
};

const HOUR = 3_600_000;

/**
 * Fills a new database with messages of one profile, spread over its numbers and accepted during
 * the last hour.
 */
export async function fill({ path, numbers, messages, status, dueInMs, segmentsPerSecond }: Filling): Promise<Filled> {
  const ids = createIds((bytes) => randomBytes(bytes));
  const now = Date.now();
  const organization = { id: ids(now - HOUR), name: "default", createdAt: now - HOUR };
  const profileId = ids(now - HOUR);
  const store = openSqliteStore(path, { onLost: () => {} });
  await store.insertOrganization(organization);
  await store.insertProfile({
    organizationId: organization.id,
    id: profileId,
    name: "Filled",
    enabled: true,
    webhookUrl: undefined,
    webhookFailoverUrl: undefined,
    whitelistedDestinations: ["US"],
    poolSettings: { longCodeWeight: 5, tollFreeWeight: 1, skipUnhealthy: true, stickySender: false, geomatch: false },
    validityPeriodSeconds: 14_400,
    stickyGeneration: 0,
    createdAt: now - HOUR,
    updatedAt: now - HOUR,
  });
  const made = Array.from({ length: numbers }, (_, index): PhoneNumber => {
    const isTollFree = index % 6 === 5;
    const areaCode = isTollFree ? "800" : AREA_CODES[index % AREA_CODES.length];
    return {
      organizationId: organization.id,
      id: ids(now - HOUR),
      phoneNumber: `+1${areaCode}${2_000_000 + index}`,
      messagingProfileId: profileId,
      carrier: "sandbox",
      lineType: isTollFree ? "toll_free" : "long_code",
      segmentsPerSecond,
      dailySegmentLimit: undefined,
      state: "active",
      countryCode: "US",
      tags: [],
      generation: 0,
      createdAt: now - HOUR,
      updatedAt: now - HOUR,
    };
  });
  for (let at = 0; at < made.length; at += 1_000) await store.insertNumbers(made.slice(at, at + 1_000));
  await store.close();

  const db = new Database(path);
  db.pragma("synchronous = OFF");
  db.prepare("UPDATE phone_numbers SET due_at = ?").run(now + dueInMs);
  // The changes predate the start of the measured program.
  const insert = db.prepare(
    `INSERT INTO messages (${MESSAGE_COLUMNS.join(", ")}) VALUES (${MESSAGE_COLUMNS.map(() => "?").join(", ")})`,
  );
  db.transaction(() => {
    for (let index = 0; index < messages; index += 1) {
      const receivedAt = now - HOUR + Math.floor((index / messages) * HOUR * 0.9);
      const number = made[index % made.length] as PhoneNumber;
      insert.run(messageValues(messageOf(number, profileId, ids(receivedAt), receivedAt, status)));
    }
  })();
  db.pragma("wal_checkpoint(TRUNCATE)");
  db.close();
  return { path, profileId };
}

function messageOf(
  number: PhoneNumber,
  messagingProfileId: string,
  id: string,
  receivedAt: number,
  status: Filling["status"],
): Message {
  const ended = status === "delivered" ? receivedAt + 300 : undefined;
  return {
    organizationId: number.organizationId,
    id,
    messagingProfileId,
    phoneNumberId: number.id,
    from: number.phoneNumber,
    carrier: number.carrier,
    lineType: number.lineType,
    to: `+1312${id.replaceAll(/\D/g, "").slice(-7)}`,
    text: "Your parcel arrives today between 14:00 and 16:00. Reply STOP to opt out of these texts.",
    encoding: "GSM-7",
    parts: 1,
    numChars: 88,
    webhookUrl: undefined,
    webhookFailoverUrl: undefined,
    useProfileWebhooks: true,
    status,
    decision: {
      rule: "weights",
      tier: undefined,
      poolSize: 100,
      eligible: 100,
      excluded: {
        weightZero: 0,
        paused: 0,
        carrierUnavailable: 0,
        draining: 0,
        unhealthy: 0,
        onTrial: 0,
        dailyLimit: 0,
        full: 0,
      },
      isFallback: false,
    },
    receivedAt,
    sendAt: undefined,
    queuedAt: receivedAt,
    sentAt: ended,
    completedAt: ended,
    validUntil: receivedAt + 4 * HOUR,
    waitSeconds: 0,
    submits: 0,
    error: undefined,
  };
}
