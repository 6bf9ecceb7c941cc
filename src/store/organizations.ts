/** A tenant. */
export type Organization = { readonly id: string; readonly name: string; readonly createdAt: number };

/** An API key as stored: the SHA-256 of the secret, never the secret. */
export type ApiKey = {
  readonly id: string;
  readonly organizationId: string;
  readonly name: string;
  readonly secretHash: Uint8Array;
  readonly scopes: readonly ("send" | "read" | "report" | "admin")[];
  readonly createdAt: number;
  readonly revokedAt: number | undefined;
};

/** Organizations and their API keys. */
export type OrganizationStore = {
  readonly insertOrganization: (organization: Organization) => Promise<void>;
  /** Oldest first. */
  readonly listOrganizations: () => Promise<Organization[]>;
  readonly insertApiKey: (key: ApiKey) => Promise<void>;
  /** Oldest first, revoked keys included. */
  readonly listApiKeys: () => Promise<ApiKey[]>;
  /** Revokes a key, unless it is revoked already; false when the key does not exist. */
  readonly revokeApiKey: (id: string, at: number) => Promise<boolean>;
};
