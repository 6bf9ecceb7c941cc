import type { ClientBase } from "pg";

/**
 * The first version whose indexes store equal keys once, of which indexes over organizations and
 * states have many. Older versions are out of support.
 */
const MIN_VERSION = 13;

const SETTINGS = `SELECT
  current_setting('server_version') AS version,
  current_setting('server_encoding') AS encoding,
  current_setting('fsync') AS fsync,
  current_setting('synchronous_commit') AS synchronous_commit,
  current_setting('synchronous_standby_names') AS standbys,
  pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on' AS read_only`;

type Settings = {
  readonly version: string;
  readonly encoding: string;
  readonly fsync: string;
  readonly synchronous_commit: string;
  readonly standbys: string;
  readonly read_only: boolean;
};

/**
 * Checks the server of a connection. Throws one sentence that starts with the name of the database
 * when the server is too old, refuses writes, cannot store every text, or acknowledges commits that
 * it may lose.
 */
export async function checkServer(client: ClientBase, name: string): Promise<void> {
  const { rows } = await client.query<Settings>(SETTINGS);
  const fault = findFault(rows[0] as Settings);
  if (fault !== undefined) throw new Error(`${name}: ${fault}`);
}

function findFault(settings: Settings): string | undefined {
  const { version, encoding, fsync, synchronous_commit, standbys, read_only } = settings;
  if (Number.parseInt(version, 10) < MIN_VERSION) {
    return `PostgreSQL ${version} is too old; ${MIN_VERSION} or later is needed.`;
  }
  if (read_only) return "it refuses writes, because it is a standby or read-only; name the primary.";
  if (encoding !== "UTF8") return `its encoding is ${encoding}; create a database with UTF8.`;
  if (fsync === "off") return "fsync is off, so the server may lose acknowledged commits; turn it on.";
  if (synchronous_commit === "off") {
    return "synchronous_commit is off, so the server may lose acknowledged commits; turn it on for this database or user.";
  }
  // Without standbys, local equals on. With standbys, the new primary could miss acknowledged
  // commits.
  if (synchronous_commit === "local" && standbys !== "") {
    return "synchronous_commit is local although the server has synchronous standbys; turn it on for this database or user.";
  }
  return undefined;
}
