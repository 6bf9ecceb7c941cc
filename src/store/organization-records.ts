export type Organization = { readonly id: string; readonly name: string; readonly createdAt: number };

/** An API key as it is kept: never the secret, only its SHA-256. */
export type ApiKey = {
  readonly id: string;
  readonly organizationId: string;
  readonly name: string;
  readonly secretHash: Uint8Array;
  readonly scopes: readonly ("send" | "read" | "report" | "admin")[];
  readonly createdAt: number;
  readonly revokedAt: number | undefined;
};
