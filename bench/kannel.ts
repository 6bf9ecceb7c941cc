import { accessSync, constants, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type Child, startChild } from "./child.ts";

/** Debian's paths of Kannel, from the packages kannel and kannel-extras. */
const BEARERBOX = "/usr/sbin/bearerbox";
const SMSBOX = "/usr/sbin/smsbox";
const FAKESMSC = "/usr/lib/kannel/test/fakesmsc";

/** Kannel, ready for `sendsms` on a loopback port. */
export type Kannel = {
  /** Its processes. */
  readonly pids: readonly number[];
  readonly port: number;
  readonly username: string;
  readonly password: string;
  /** Resolves with the number of sent messages when every accepted one has left, or after 20 s. */
  readonly drained: () => Promise<number>;
  readonly stop: () => Promise<void>;
};

/** Whether Kannel is installed. */
export function isKannelInstalled(): boolean {
  return [BEARERBOX, SMSBOX, FAKESMSC].every((file) => {
    try {
      accessSync(file, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/**
 * Starts bearerbox, smsbox and a carrier that accepts everything, as Debian configures them: queues
 * in memory, nothing synced to disk, no access log, only errors.
 */
export async function startKannel(): Promise<Kannel> {
  const folder = mkdtempSync(join(tmpdir(), "numberpool-kannel-"));
  const boxes: Child[] = [];
  const stop = async () => {
    for (const box of boxes.toReversed()) await box.stop();
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    const [admin, smsbox, smsc, port] = (await freePorts(4)) as [number, number, number, number];
    const [username, password] = ["bench", "bench-password"];
    const file = join(folder, "kannel.conf");
    writeFileSync(file, configuration({ admin, smsbox, smsc, port, username, password }));
    const start = async (program: string, args: readonly string[], opens: number | undefined) => {
      const box = startChild(program, args);
      boxes.push(box);
      if (opens !== undefined) await opened(opens, box);
    };
    await start(BEARERBOX, ["-v", "4", "--", file], smsbox);
    await opened(smsc, boxes[0] as Child);
    // It sends nothing itself: its one text waits longer than any benchmark.
    await start(FAKESMSC, ["-v", "4", "-H", "127.0.0.1", "-r", `${smsc}`, "-m", "0", "1 2 text nop"], undefined);
    await start(SMSBOX, ["-v", "4", "--", file], port);
    const status = async () => {
      const answer = await fetch(`http://127.0.0.1:${admin}/status.txt?password=${password}`);
      return countsOf(await answer.text());
    };
    for (let tries = 0; !(await status()).isOnline; tries += 1) {
      if (tries > 100) throw new Error("Kannel's carrier did not connect.");
      await sleep(100);
    }
    const drained = async () => {
      let counts = await status();
      for (let tries = 0; counts.queued > 0 && tries < 100; tries += 1) {
        await sleep(200);
        counts = await status();
      }
      return counts.sent;
    };
    return { pids: boxes.map(({ pid }) => pid), port, username, password, drained, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

type Ports = { readonly admin: number; readonly smsbox: number; readonly smsc: number; readonly port: number };

function configuration(values: Ports & { readonly username: string; readonly password: string }): string {
  return `
group = core
admin-port = ${values.admin}
admin-interface = 127.0.0.1
admin-password = ${values.password}
admin-deny-ip = "*.*.*.*"
admin-allow-ip = "127.0.0.1"
smsbox-port = ${values.smsbox}
smsbox-interface = 127.0.0.1
box-deny-ip = "*.*.*.*"
box-allow-ip = "127.0.0.1"

group = smsc
smsc = fake
smsc-id = fake
port = ${values.smsc}
connect-allow-ip = "127.0.0.1"

group = smsbox
bearerbox-host = 127.0.0.1
sendsms-port = ${values.port}
sendsms-interface = 127.0.0.1
global-sender = 12125550110

group = sendsms-user
username = ${values.username}
password = ${values.password}
user-deny-ip = "*.*.*.*"
user-allow-ip = "127.0.0.1"
`;
}

/** The counts on the status page: "SMS: sent 4000 (…), …", "(fake) … online …, queued 0 msgs". */
function countsOf(page: string): { readonly sent: number; readonly queued: number; readonly isOnline: boolean } {
  const sent = /SMS: received[^\n]*?sent (\d+)/.exec(page)?.[1];
  const queued = [...page.matchAll(/queued (\d+)/g), ...page.matchAll(/\((\d+) queued\)/g)];
  return {
    sent: Number(sent ?? 0),
    queued: queued.reduce((sum, match) => sum + Number(match[1]), 0),
    isOnline: /\(online/.test(page),
  };
}

async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer();
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      return server;
    }),
  );
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

/** Resolves when a port accepts connections. */
async function opened(port: number, box: Child): Promise<void> {
  let isGone = false;
  box.exited.then(() => {
    isGone = true;
  });
  for (let tries = 0; tries < 100 && !isGone; tries += 1) {
    const isOpen = await new Promise<boolean>((resolve) => {
      const socket = connect({ host: "127.0.0.1", port });
      socket.on("connect", () => {
        socket.destroy();
        resolve(true);
      });
      socket.on("error", () => resolve(false));
    });
    if (isOpen) return;
    await sleep(100);
  }
  throw new Error("A Kannel box did not start.");
}
