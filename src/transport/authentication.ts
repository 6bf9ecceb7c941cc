import { timingSafeEqual } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { ErrorReason } from "../../gen/numberpool/v1/error_reason_pb.ts";
import type { Scope } from "../../gen/numberpool/v1/scope_pb.ts";
import { Scope as Scopes } from "../../gen/numberpool/v1/scope_pb.ts";
import { apiKeyId, hashOfToken } from "../domain/api-key.ts";
import type { Refusal } from "../domain/failure.ts";
import type { ApiKey } from "../store/organizations.ts";
import type { Store } from "../store/store.ts";

/** The caller, identified by its API key. */
export type Caller = {
  readonly organizationId: string;
  readonly apiKeyId: string;
  readonly scopes: ReadonlySet<Scope>;
};

/** The caller by an `Authorization` header; undefined for every failure alike. */
export type Authenticate = (authorization: string | undefined) => Caller | undefined;

/**
 * The `Authorization` header of an HTTP/1.1 request; undefined when there is none or more than one,
 * because a proxy in front may have checked another one than this server would.
 */
export function authorizationOf(request: IncomingMessage): string | undefined {
  const values = request.headersDistinct.authorization;
  return values?.length === 1 ? values[0] : undefined;
}

/** The refusal for an unauthenticated call, whatever is wrong with its key. */
export const UNAUTHENTICATED: Refusal = {
  reason: ErrorReason.UNAUTHENTICATED,
  detail: "No valid API key; send one header `Authorization: Bearer <key>` with a key that is not revoked.",
};

const SCOPES = { send: Scopes.SEND, read: Scopes.READ, report: Scopes.REPORT, admin: Scopes.ADMIN } as const;

/** RFC 9110: the scheme in any case, then one or more spaces. */
const BEARER = /^bearer +([^ ].*)$/i;

/** Authentication against the store's keys, which are cached and reloaded when they change. */
export async function openAuthentication(store: Store): Promise<{ authenticate: Authenticate; close: () => void }> {
  let byId = new Map<string, { readonly key: ApiKey; readonly caller: Caller }>();
  let byHash = new Map<string, Caller>();

  const load = async () => {
    const keys = (await store.listApiKeys()).filter((key) => key.revokedAt === undefined);
    const known = keys.map((key) => ({ key, caller: callerOf(key) }));
    byId = new Map(known.map((entry) => [entry.key.id, entry]));
    byHash = new Map(known.map(({ key, caller }) => [Buffer.from(key.secretHash).toString("latin1"), caller]));
  };

  const close = store.watchConfiguration(async (change) => {
    if (change.kind === "api_key") await load();
  });
  await load();

  const authenticate: Authenticate = (authorization) => {
    const token = authorization === undefined ? undefined : BEARER.exec(authorization)?.[1];
    if (token === undefined) return undefined;
    const id = apiKeyId(token);
    if (id === "") return undefined;
    const hash = hashOfToken(token);
    if (id === undefined) return byHash.get(hash.toString("latin1"));
    const known = byId.get(id);
    return known !== undefined && timingSafeEqual(known.key.secretHash, hash) ? known.caller : undefined;
  };

  return { authenticate, close };
}

function callerOf(key: ApiKey): Caller {
  return {
    organizationId: key.organizationId,
    apiKeyId: key.id,
    scopes: new Set(key.scopes.map((scope) => SCOPES[scope])),
  };
}
