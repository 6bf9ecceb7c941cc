/**
 * A database's URL as people may see it, "postgres://host:port/database": no user, no password, no parameters. Throws one
 * sentence, which does not hold the URL, when it is none.
 */
export function describeDatabase(url: string): string {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (parsed === undefined || !/^postgres(ql)?:$/.test(parsed.protocol)) {
    throw new Error("The database's URL cannot be read; it must be postgres://USER:PASSWORD@HOST:PORT/DATABASE.");
  }
  // A server that is reached by a socket in a folder is named among the parameters.
  const host = parsed.host === "" ? (parsed.searchParams.get("host") ?? "") : parsed.host;
  return `postgres://${host}${parsed.pathname}`;
}
