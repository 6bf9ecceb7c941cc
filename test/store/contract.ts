import { afterEach, beforeEach, describe } from "vitest";
import { acceptance } from "./contract/acceptance.ts";
import { budgets } from "./contract/budgets.ts";
import { cancelling } from "./contract/cancelling.ts";
import { commits } from "./contract/commits.ts";
import { dispatch } from "./contract/dispatch.ts";
import { events } from "./contract/events.ts";
import { forgetting } from "./contract/forgetting.ts";
import { isolation } from "./contract/isolation.ts";
import { keeping } from "./contract/keeping.ts";
import { messages } from "./contract/messages.ts";
import { mishaps } from "./contract/mishaps.ts";
import { numbers } from "./contract/numbers.ts";
import { orders } from "./contract/orders.ts";
import { organizations } from "./contract/organizations.ts";
import { poolRows } from "./contract/pool-rows.ts";
import { profiles } from "./contract/profiles.ts";
import { receipts } from "./contract/receipts.ts";
import { recipients } from "./contract/recipients.ts";
import { schedule } from "./contract/schedule.ts";
import type { Opened, Subject } from "./contract/subject.ts";
import { sweeps } from "./contract/sweeps.ts";
import { watching } from "./contract/watching.ts";

/** Declares the contract of every store; `open` gives a new, empty store each time. */
export function storeContract(name: string, open: () => Promise<Opened>): void {
  describe(`A store on ${name}`, () => {
    let opened: Opened;
    beforeEach(async () => {
      opened = await open();
    });
    afterEach(() => opened.dispose());
    const subject: Subject = () => opened;

    describe("keeps organizations and API keys:", () => organizations(subject));
    describe("keeps profiles:", () => profiles(subject));
    describe("keeps numbers:", () => numbers(subject));
    describe("keeps organizations apart:", () => isolation(subject));
    describe("gives the rows of a pool:", () => poolRows(subject));
    describe("accepts messages:", () => acceptance(subject));
    describe("lists messages:", () => messages(subject));
    describe("keeps sticky mappings and opt-outs:", () => recipients(subject));
    describe("claims messages and applies reports:", () => dispatch(subject));
    describe("claims within the budgets of carriers:", () => budgets(subject));
    describe("schedules messages:", () => schedule(subject));
    describe("cancels messages:", () => cancelling(subject));
    describe("lists messages' events:", () => events(subject));
    describe("finds the messages of receipts:", () => receipts(subject));
    describe("applies reports in any order:", () => orders(subject));
    describe("settles messages without reports:", () => sweeps(subject));
    describe("survives mishaps:", () => mishaps(subject));
    describe("passes on configuration changes:", () => watching(subject));
    describe("gives the observer of commits", () => commits(subject));
    describe("keeps and forgets:", () => keeping(subject));
    describe("forgets messages:", () => forgetting(subject));
  });
}
