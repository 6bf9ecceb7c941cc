/** A page of a counted list; `offset` and `limit` in rows. */
export type PageQuery = { readonly offset: number; readonly limit: number };

/** Where in a message's story to go on: a sequence. */
export type EventQuery = { readonly after: string | undefined; readonly limit: number };

/** Whose mappings are listed, and which of them hold: the profile's generation, and the oldest last message. */
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

export type OptOutQuery = PageQuery & {
  readonly messagingProfileId?: string | undefined;
  readonly to?: string | undefined;
  readonly phoneNumber?: string | undefined;
  readonly createdSince?: number | undefined;
  readonly createdUntil?: number | undefined;
};

export type ProfileQuery = PageQuery & {
  readonly nameEquals: string | undefined;
  /** Whatever the case of ASCII letters. */
  readonly nameContains: string | undefined;
};

export type NumberQuery = PageQuery & {
  readonly messagingProfileId?: string | undefined;
  readonly phoneNumbers?: readonly string[] | undefined;
  readonly phoneNumberContains?: string | undefined;
  readonly lineType?: "long_code" | "toll_free" | undefined;
  readonly descending?: boolean | undefined;
};
