import { beforeEach, expect, it } from "vitest";
import type { IdempotencyRecord } from "../../../src/domain/idempotency.ts";
import type { Message } from "../../../src/domain/message.ts";
import type { MessagingProfile } from "../../../src/domain/messaging-profile.ts";
import type { PhoneNumber } from "../../../src/domain/phone-number-record.ts";
import type { StickyMapping } from "../../../src/domain/recipient.ts";
import type { OptOut } from "../../../src/store/recipients.ts";
import type { Store } from "../../../src/store/store.ts";
import {
  ALL,
  ANY_NAME,
  anOrganization,
  NEVER,
  NOON,
  read,
  storeMessage,
  storeNumber,
  storeProfile,
  write,
} from "./records.ts";
import type { Subject } from "./subject.ts";

type Victim = {
  readonly profile: MessagingProfile;
  readonly number: PhoneNumber;
  readonly message: Message;
  readonly mapping: StickyMapping;
  readonly key: IdempotencyRecord;
  readonly optOut: OptOut;
};
type Attempt = (store: Store, intruder: string, victim: Victim) => Promise<unknown>;

const FREE = { optedOut: false, mapping: undefined };
const NONE = { rows: [], total: 0 };

/** The result for another organization's ids, by method: the same as for unknown ids. */
const ATTEMPTS: readonly (readonly [string, Attempt, unknown])[] = [
  ["getProfile", (store, intruder, { profile }) => store.getProfile(intruder, profile.id), undefined],
  ["listProfiles", (store, intruder) => store.listProfiles(intruder, ANY_NAME), NONE],
  [
    "listProfiles by name",
    (store, intruder, { profile }) => store.listProfiles(intruder, { ...ANY_NAME, nameEquals: profile.name }),
    NONE,
  ],
  ["updateProfile", (store, intruder, { profile }) => store.updateProfile(intruder, profile.id, NEVER), undefined],
  ["deleteProfile", (store, intruder, { profile }) => store.deleteProfile(intruder, profile.id, NOON), undefined],
  ["getNumber by id", (store, intruder, { number }) => store.getNumber(intruder, number.id), undefined],
  [
    "getNumber by phone number",
    (store, intruder, { number }) => store.getNumber(intruder, number.phoneNumber),
    undefined,
  ],
  ["listNumbers", (store, intruder) => store.listNumbers(intruder, ALL), NONE],
  [
    "listNumbers of a profile",
    (store, intruder, { profile }) => store.listNumbers(intruder, { ...ALL, messagingProfileId: profile.id }),
    NONE,
  ],
  [
    "listNumbers by phone number",
    (store, intruder, { number }) => store.listNumbers(intruder, { ...ALL, phoneNumbers: [number.phoneNumber] }),
    NONE,
  ],
  [
    "updateNumber by id",
    (store, intruder, { number }) => store.updateNumber(intruder, number.id, NEVER),
    { kind: "unknownNumber" },
  ],
  [
    "updateNumber by phone number",
    (store, intruder, { number }) => store.updateNumber(intruder, number.phoneNumber, NEVER),
    { kind: "unknownNumber" },
  ],
  ["resetHealth by id", (store, intruder, { number }) => store.resetHealth(intruder, number.id, NOON), undefined],
  [
    "resetHealth by phone number",
    (store, intruder, { number }) => store.resetHealth(intruder, number.phoneNumber, NOON),
    undefined,
  ],
  ["removeNumber by id", (store, intruder, { number }) => store.removeNumber(intruder, number.id), undefined],
  [
    "removeNumber by phone number",
    (store, intruder, { number }) => store.removeNumber(intruder, number.phoneNumber),
    undefined,
  ],
  ["loadPool", (store, intruder, { profile }) => store.loadPool(intruder, profile.id), undefined],
  [
    "listTraffic",
    async (store, intruder, { profile }) => (await store.listTraffic(intruder, profile.id, NOON)).size,
    0,
  ],
  [
    "listMessages",
    (store, intruder, { number }) =>
      store.listMessages(intruder, { after: undefined, limit: 10, from: number.phoneNumber }),
    { rows: [] },
  ],
  [
    "readRecipient",
    (store, intruder, { mapping }) => store.readRecipient({ ...mapping, organizationId: intruder }),
    FREE,
  ],
  [
    "listMappings",
    (store, intruder, { mapping }) =>
      store.listMappings({ ...mapping, organizationId: intruder, since: 0 }, { after: undefined, limit: 10 }),
    { rows: [] },
  ],
  [
    "removeMapping",
    (store, intruder, { mapping }) => store.removeMapping({ ...mapping, organizationId: intruder }),
    undefined,
  ],
  ["listOptOuts", (store, intruder) => store.listOptOuts(intruder, ALL), NONE],
  [
    "removeOptOut",
    (store, intruder, { optOut }) => store.removeOptOut({ ...optOut, organizationId: intruder }),
    undefined,
  ],
  ["getMessage", (store, intruder, { message }) => store.getMessage(intruder, message.id), undefined],
  [
    "accept reading a recipient",
    async (store, intruder, { mapping, optOut }) => {
      const asked = [mapping, optOut].map((recipient) => ({ ...recipient, organizationId: intruder }));
      return (await read(store, { recipients: asked })).recipients;
    },
    [FREE, FREE],
  ],
  [
    "accept reading a key",
    async (store, intruder, { key }) => (await read(store, { keys: [{ ...key, organizationId: intruder }] })).keys[0],
    undefined,
  ],
  [
    "applyReports by message id",
    async (store, intruder, { message }) => {
      const target = { organizationId: intruder, messageId: message.id };
      const [applied] = await store.applyReports([{ target, report: { kind: "delivered", at: NOON } }]);
      return [applied?.messageId, applied?.messagingProfileId, applied?.phoneNumberId, applied?.health];
    },
    [undefined, undefined, undefined, undefined],
  ],
];

/** One organization never reads or changes the rows of another. */
export function isolation(subject: Subject): void {
  let victim: Victim;
  let intruder: string;

  beforeEach(async () => {
    const { store } = subject();
    const profile = await storeProfile(store);
    const number = await storeNumber(store, profile);
    const message = await storeMessage(store, number);
    const { organizationId } = profile;
    const recipient = { organizationId, messagingProfileId: profile.id, to: message.to };
    const mapping = {
      ...recipient,
      phoneNumberId: number.id,
      profileGeneration: 0,
      numberGeneration: 0,
      lastMessageAt: NOON,
    };
    const bytes = { requestHash: new Uint8Array(32), response: new Uint8Array([1]) };
    const key = { organizationId, method: "SendMessage", key: "order-1", ...bytes, createdAt: NOON };
    await write(store, { mappings: [mapping], keys: [key] });
    const noted = { phoneNumber: "", keyword: "STOP", createdAt: NOON };
    const optOut = await store.addOptOut({ ...recipient, to: "+12125550101", ...noted });
    victim = { profile, number, message, mapping, key, optOut };
    const organization = anOrganization();
    await store.insertOrganization(organization);
    intruder = organization.id;
  });

  it.each(ATTEMPTS)("%s answers about another organization's as about an unknown one", async (_, attempt, expected) => {
    const { store } = subject();
    expect(await attempt(store, intruder, victim)).toEqual(expected);

    const { profile, number, message, mapping, key, optOut } = victim;
    const { organizationId } = profile;
    expect(await store.getProfile(organizationId, profile.id)).toEqual(profile);
    expect((await store.getNumber(organizationId, number.id))?.number).toEqual(number);
    expect(await store.getMessage(organizationId, message.id)).toEqual(message);
    const facts = await read(store, { recipients: [mapping], keys: [key] });
    expect(facts.recipients[0]?.mapping).toEqual(mapping);
    expect(facts.keys[0]?.key).toBe(key.key);
    expect((await store.readRecipient(optOut)).optedOut).toBe(true);
  });

  it("writing one organization's mapping or key leaves another's alone", async () => {
    const { store } = subject();
    const { mapping, key } = victim;
    const theirs = { ...mapping, organizationId: intruder, numberGeneration: 9 };
    await write(store, { mappings: [theirs], keys: [{ ...key, organizationId: intruder, createdAt: NOON + 9 }] });
    const facts = await read(store, {
      recipients: [mapping, theirs],
      keys: [key, { ...key, organizationId: intruder }],
    });
    expect(facts.recipients.map((fact) => fact.mapping)).toEqual([mapping, theirs]);
    expect(facts.keys.map((record) => record?.createdAt)).toEqual([NOON, NOON + 9]);
  });

  it("one organization's opt-out is not another's", async () => {
    const { store } = subject();
    const { mapping, optOut } = victim;
    await store.addOptOut({ ...optOut, organizationId: intruder, to: mapping.to });
    const facts = await read(store, { recipients: [mapping] });
    expect(facts.recipients).toEqual([{ optedOut: false, mapping }]);
  });
}
