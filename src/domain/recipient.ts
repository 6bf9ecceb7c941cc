/** A recipient of a profile, +E.164. */
export type RecipientKey = {
  readonly organizationId: string;
  readonly messagingProfileId: string;
  readonly to: string;
};

/** What is known of a recipient before a send. */
export type RecipientFacts = { readonly optedOut: boolean; readonly mapping: StickyMapping | undefined };

/** The number that texted a recipient last. The mapping ends when its profile or number has another generation. */
export type StickyMapping = RecipientKey & {
  readonly phoneNumberId: string;
  readonly profileGeneration: number;
  readonly numberGeneration: number;
  readonly lastMessageAt: number;
};
