import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { afterAll, describe, expect, it, vi } from "vitest";
import { makePool, PROGRAM, ROOT, run, sendTo } from "../../operation/program.ts";
import { startServer } from "../../server.ts";
import { jsonOf, ONE_SENTENCE } from "../numberpool.ts";
import { createNumberFiles, importing, manyNumbers, phoneNumbersIn } from "./number-files.ts";

const folder = createNumberFiles();
const { emptyDatabase, fileOf } = folder;

afterAll(() => folder.remove());

describe("A long import", () => {
  it("beside a server under load delays no send", async () => {
    const server = await startServer({ database: join(folder.path, "busy.db") });
    const profile = await makePool(server, [{ phone_number: "+12125550100", segments_per_second: 1_000 }]);
    await sendTo(server, profile, "+13125550100");
    const rows = manyNumbers(4_000).map((number) => `${number},${profile}`);
    const file = fileOf(["phone_number,messaging_profile_id", ...rows].join("\n"));
    let isOver = false;
    let slowest = 0;
    let refused = 0;
    const sending = Promise.all(
      Array.from({ length: 2 }, async () => {
        while (!isOver) {
          const since = performance.now();
          const { status } = await sendTo(server, profile, "+13125550100");
          if (status !== 200) refused += 1;
          slowest = Math.max(slowest, performance.now() - since);
        }
      }),
    );
    expect((await importing(server.database, file)).code).toBe(0);
    await vi.waitFor(
      async () => {
        const { body } = await sendTo(server, profile, "+13125550100");
        expect(body.data.decision.pool_size).toBe(4_001);
      },
      { timeout: 3_000, interval: 20 },
    );
    isOver = true;
    await sending;
    expect(refused).toBe(0);
    expect(slowest).toBeLessThan(2_000);
    expect(server.stderr()).toBe("");
    expect(await server.stop()).toBe(0);
  });

  it("refuses a number that another organization has before the first is written, unless that is allowed", async () => {
    const database = await emptyDatabase();
    await jsonOf(database, "key", "create", "--organization", "other");
    const [taken = "", free = ""] = manyNumbers(2);
    expect((await importing(database, fileOf(`phone_number\n${taken}`), "--organization", "other")).code).toBe(0);
    const file = fileOf(["phone_number", free, taken].join("\n"));
    const { code, stderr } = await importing(database, file);
    expect(code).toBe(1);
    expect(stderr).toContain(
      `${file}:3: Another organization has registered the phone number; --allow-shared-numbers allows`,
    );
    expect(phoneNumbersIn(database)).toEqual([taken]);
    expect((await importing(database, file, "--allow-shared-numbers")).code).toBe(0);
    expect(phoneNumbersIn(database)).toEqual([taken, free, taken]);
  });

  it("that is interrupted says what was written, and the next run with --skip-bad completes it", async () => {
    const database = await emptyDatabase();
    const numbers = manyNumbers(8_000);
    const file = fileOf(["phone_number", ...numbers].join("\n"));
    const started = run(["number", "import", file], { NUMBERPOOL_DATABASE: database });
    await vi.waitFor(() => expect(phoneNumbersIn(database).length).toBeGreaterThan(0), {
      timeout: 15_000,
      interval: 5,
    });
    started.process.kill("SIGINT");
    const { code } = await started.exited;
    const written = phoneNumbersIn(database);
    expect([code, started.stdout()]).toEqual([1, ""]);
    expect(started.stderr()).toMatch(ONE_SENTENCE);
    expect(started.stderr()).toContain(
      `numberpool: ${written.length} of ${numbers.length} rows were written before the import ended (interrupted); run it again with --skip-bad`,
    );
    expect(written.length).toBeLessThan(numbers.length);
    expect(written).toEqual(numbers.slice(0, written.length));

    const rest = await jsonOf(database, "number", "import", file, "--skip-bad");
    expect([rest.imported, rest.bad]).toEqual([numbers.length - written.length, written.length]);
    expect(phoneNumbersIn(database)).toEqual(numbers);
  });

  const hasScript = spawnSync("script", ["--version"]).status === 0;

  it.skipIf(!hasScript)(
    `shows its progress on a terminal${hasScript ? "" : " (skipped: script is not installed)"}, and only there`,
    async () => {
      const database = await emptyDatabase();
      const file = fileOf(["phone_number", ...manyNumbers(2_000)].join("\n"));
      const command = [process.execPath, PROGRAM, "number", "import", file, "--database", database].join(" ");
      const shown = spawnSync("script", ["-qefc", command, "/dev/null"], { cwd: ROOT, encoding: "utf8" });
      expect(shown.status).toBe(0);
      const [bar = ""] = shown.stdout.split("\x1b[K");
      expect(bar).toMatch(/^\r(checking|importing) \[=* *\] \d+ %$/);
      expect(shown.stdout.split("\x1b[K").at(-1)).toBe(`${file}: 2,000 of 2,000 rows imported into default.\r\n`);
      const piped = await importing(database, file, "--skip-bad");
      expect(piped.stderr).not.toContain("\x1b");
    },
  );
});
