import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createIds } from "../../src/domain/ids.ts";
import { documentedType, eventId } from "../../src/domain/message-event.ts";

const NOON = Date.UTC(2026, 0, 15, 12);
const UUID_V7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

describe("The id of an event", () => {
  it("is a UUID of version 7 with the event's time, and no two events of some messages share one", () => {
    const event = fc.record({
      message: fc.nat(5),
      sequence: fc.oneof(fc.nat(9), fc.nat({ max: 2 ** 40 })),
      at: fc.integer({ min: NOON, max: NOON + 3 }),
    });
    const random = fc.uint8Array({ minLength: 4096, maxLength: 4096 });
    fc.assert(
      fc.property(random, fc.array(event, { minLength: 2, maxLength: 30 }), (bytes, events) => {
        const ids = createIds(() => bytes);
        const messages = Array.from({ length: 6 }, () => ids(NOON));
        fc.pre(new Set(messages.map((id) => id.slice(19))).size === 6);
        // The store gives each sequence once.
        const unique = [...new Map(events.map((each) => [each.sequence, each])).values()];
        const given = unique.map(({ message, sequence, at }) => {
          const id = eventId({ messageId: messages[message] as string, sequence, at });
          expect(id).toMatch(UUID_V7);
          expect(Number.parseInt(id.replaceAll("-", "").slice(0, 12), 16)).toBe(at);
          return id;
        });
        for (const [message, messageId] of messages.entries()) {
          const own = given.filter((_, index) => unique[index]?.message === message);
          expect(new Set([...own, messageId]).size).toBe(own.length + 1);
        }
      }),
    );
  });
});

describe("The documented type of an event", () => {
  it.each([
    ["queued", true, undefined],
    ["sending", true, undefined],
    ["sent", true, "message.sent"],
    ["sent", false, undefined],
    ["delivered", true, "message.finalized"],
    ["delivered", false, undefined],
    ["delivery_failed", true, "message.finalized"],
    ["delivery_unconfirmed", true, "message.finalized"],
    ["sending_failed", true, "message.finalized"],
    ["expired", true, "message.finalized"],
    ["cancelled", true, "message.finalized"],
  ] as const)("after which the message is %s, changed: %s, is %s", (status, changesStatus, type) => {
    expect(documentedType({ status, changesStatus })).toBe(type);
  });
});
