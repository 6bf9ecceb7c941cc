/**
 * The public part of a database's URL, "postgres://host:port/database": no user, no password, no
 * parameters. Throws one sentence without the URL when it is not a database's URL.
 */
export function describeDatabase(url: string): string {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (parsed === undefined || !/^postgres(ql)?:$/.test(parsed.protocol)) {
    throw new Error("Not a database URL; expected postgres://USER:PASSWORD@HOST:PORT/DATABASE.");
  }
  // A server behind a Unix socket is a parameter.
  const host = parsed.host === "" ? (parsed.searchParams.get("host") ?? "") : parsed.host;
  return `postgres://${host}${parsed.pathname}`;
}
