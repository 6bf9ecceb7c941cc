import type { RecipientFacts, RecipientKey, StickyMapping } from "../domain/recipient.ts";
import type { Continued, Counted, PageQuery } from "./pages.ts";

/**
 * The valid mappings of a profile: those of its generation whose last message is not older than
 * `since`.
 */
export type MappingList = {
  readonly organizationId: string;
  readonly messagingProfileId: string;
  readonly profileGeneration: number;
  readonly since: number;
};

export type MappingQuery = {
  /** The cursor: a recipient. */
  readonly after: string | undefined;
  readonly limit: number;
  readonly phoneNumberId?: string | undefined;
};

export type OptOut = RecipientKey & {
  /** The number of the pool that received the opt-out, or "". */
  readonly phoneNumber: string;
  readonly keyword: string;
  readonly createdAt: number;
};

export type OptOutQuery = PageQuery & {
  readonly messagingProfileId?: string | undefined;
  readonly to?: string | undefined;
  readonly phoneNumber?: string | undefined;
  readonly createdSince?: number | undefined;
  readonly createdUntil?: number | undefined;
};

/** Sticky mappings and opt-outs of recipients. */
export type RecipientStore = {
  /** The facts that a send to this recipient reads. */
  readonly readRecipient: (key: RecipientKey) => Promise<RecipientFacts>;

  /** By recipient, valid mappings only. One call reads at most `LIST_SCAN` mappings. */
  readonly listMappings: (key: MappingList, query: MappingQuery) => Promise<Continued<StickyMapping>>;
  readonly putMapping: (mapping: StickyMapping) => Promise<void>;
  /** Gives what the mapping was; undefined when it does not exist. */
  readonly removeMapping: (key: RecipientKey) => Promise<StickyMapping | undefined>;

  /** Newest first. */
  readonly listOptOuts: (organizationId: string, query: OptOutQuery) => Promise<Counted<OptOut>>;
  /** Adds an opt-out, unless the recipient has one. Gives the stored one. */
  readonly addOptOut: (optOut: OptOut) => Promise<OptOut>;
  /** Gives what the opt-out was; undefined when it does not exist. */
  readonly removeOptOut: (key: RecipientKey) => Promise<OptOut | undefined>;
};
