import type { HealthCounts } from "../domain/health.ts";
import type { PhoneNumber } from "../domain/phone-number-record.ts";
import type { Counted, PageQuery } from "./pages.ts";

export type NumberQuery = PageQuery & {
  readonly messagingProfileId?: string | undefined;
  readonly phoneNumbers?: readonly string[] | undefined;
  readonly phoneNumberContains?: string | undefined;
  readonly lineType?: "long_code" | "toll_free" | undefined;
  readonly descending?: boolean | undefined;
};

export type NumberFound = { readonly number: PhoneNumber; readonly health: HealthCounts };

/** The outcome of writing a number. */
export type NumberWritten =
  | ({ readonly kind: "written" } & NumberFound)
  /** The organization registered it already. */
  | { readonly kind: "exists" }
  /** Another organization registered it. */
  | { readonly kind: "taken" }
  | { readonly kind: "unknownNumber" }
  | { readonly kind: "unknownProfile" };

/** Phone numbers, found by id or by +E.164. Where a method finds no number, it gives undefined. */
export type NumberStore = {
  /** Registers a number. Refuses one that another organization registered, unless `mayBeShared`. */
  readonly insertNumber: (number: PhoneNumber, mayBeShared?: boolean) => Promise<NumberWritten>;
  /**
   * Registers numbers of one organization and gives the outcome of each, in order. One refusal
   * stops no other.
   */
  readonly insertNumbers: (numbers: readonly PhoneNumber[], mayBeShared?: boolean) => Promise<NumberWritten["kind"][]>;
  /** Those of these phone numbers that other organizations registered. */
  readonly listTaken: (organizationId: string, phoneNumbers: readonly string[]) => Promise<string[]>;
  readonly getNumber: (organizationId: string, idOrPhoneNumber: string) => Promise<NumberFound | undefined>;
  /** In the order of phone numbers. */
  readonly listNumbers: (organizationId: string, query: NumberQuery) => Promise<Counted<NumberFound>>;
  /** A `change` that gives its argument back writes nothing. */
  readonly updateNumber: (
    organizationId: string,
    idOrPhoneNumber: string,
    change: (number: PhoneNumber) => PhoneNumber,
  ) => Promise<NumberWritten>;
  /**
   * Clears a number's health and gives the number. Outcomes of messages submitted before `at` no
   * longer count.
   */
  readonly resetHealth: (organizationId: string, idOrE164: string, at: number) => Promise<NumberFound | undefined>;
  /**
   * Removes a number and gives what it was. `claim` later ends its queued messages as
   * `sending_failed`, in small steps.
   */
  readonly removeNumber: (organizationId: string, idOrPhoneNumber: string) => Promise<NumberFound | undefined>;
  /** Counts the numbers of every carrier that is not among these, by carrier. */
  readonly countUnreachable: (carriers: readonly string[]) => Promise<ReadonlyMap<string, number>>;
};
