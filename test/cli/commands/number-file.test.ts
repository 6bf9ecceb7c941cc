import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readNumberFile } from "../../../src/cli/number-file.ts";
import { numberpool, ONE_SENTENCE } from "../numberpool.ts";
import { createNumberFiles, importing, manyNumbers, phoneNumbersIn } from "./number-files.ts";

const folder = createNumberFiles();
const { emptyDatabase, fileOf } = folder;

afterAll(() => folder.remove());

describe("A file of numbers", () => {
  let database: string;

  beforeAll(async () => {
    database = await emptyDatabase();
  });

  it.each<[string, string | Uint8Array, string]>([
    ["that is empty", "", " is empty; the first line must name the columns."],
    ["of empty lines", "\n\r\n", " is empty; the first line must name the columns."],
    [
      "with unknown columns",
      "phone_number,Carrier,colour\n",
      ':1: unknown column "Carrier", "colour"; the columns are phone_number, messaging_profile_id, carrier, line_type, segments_per_second, daily_segment_limit, state, tags.',
    ],
    [
      "with a former name",
      "phone_number,daily_limit\n",
      ":1: the column daily_limit is called daily_segment_limit now; use that name.",
    ],
    ["without its header", "+12125550100\n", ':1: unknown column "+12125550100"; the columns are '],
    ["with a column twice", "\nphone_number,state,state\n", ":2: the header names state twice."],
    ["without numbers", "carrier\nsandbox\n", ":1: the column phone_number is missing."],
    ["with a broken header", 'phone_number,"tags\n', ":1: the header has a quote that is never closed."],
    ["in UTF-16", Buffer.from("\ufeffphone_number\n+12125550100\n", "utf16le"), " is not UTF-8."],
  ])("%s is refused in one sentence", (_what, content, error) => {
    const file = fileOf(content);
    expect(() => readNumberFile(file)).toThrow(`${file}${error}`);
    expect(() => readNumberFile(file)).toThrow(/^[^\n]+\.$/);
  });

  it("with an unknown column is refused by the program, whatever is skipped", async () => {
    const file = fileOf("phone_number,colour\n+12125550100,red\n");
    const { code, stdout, stderr } = await importing(database, file, "--skip-bad");
    expect([code, stdout]).toEqual([1, ""]);
    expect(stderr).toMatch(ONE_SENTENCE);
    expect(stderr).toContain(`numberpool: ${file}:1: unknown column "colour"; the columns are phone_number, `);
    expect(phoneNumbersIn(database)).toEqual([]);
  });

  it("that cannot be read is refused in one sentence", async () => {
    const missing = join(folder.path, "missing.csv");
    const { code, stderr } = await importing(database, missing);
    expect([code, stderr]).toEqual([1, `numberpool: ${missing} cannot be read (ENOENT).\n`]);
    expect(() => readNumberFile(folder.path)).toThrow(`${folder.path} cannot be read (EISDIR).`);
  });

  it("with nothing but its header is imported", async () => {
    const { code, stdout } = await importing(database, fileOf('"phone_number"\r\n'));
    expect(code).toBe(0);
    expect(stdout).toMatch(/: 0 of 0 rows imported into default\.\n$/);
  });
});

describe("Bad rows", () => {
  it("are reported up to a hundred, then counted; with --skip-bad the others are imported once", async () => {
    const database = await emptyDatabase();
    const good = manyNumbers(1_500);
    const rows = good.flatMap((number, index) => (index % 10 === 0 ? [number, `bad ${index}`] : [number]));
    const file = fileOf(["phone_number", ...rows].join("\n"));

    const strict = await importing(database, file);
    expect([strict.code, strict.stdout]).toEqual([1, ""]);
    const lines = strict.stderr.trimEnd().split("\n");
    expect(lines).toHaveLength(102);
    expect(lines[0]).toMatch(new RegExp(`^${file}:3: phone_number must be `));
    expect(lines[99]).toMatch(new RegExp(`^${file}:${99 * 11 + 3}: `));
    expect(lines[100]).toBe(`${file}: 50 rows more.`);
    expect(lines[101]).toContain("150 of 1,650 rows are bad");
    expect(phoneNumbersIn(database)).toEqual([]);

    const first = await importing(database, file, "--skip-bad");
    expect([first.code, first.stdout]).toEqual([
      0,
      `${file}: 1,500 of 1,650 rows imported into default; 150 rows skipped.\n`,
    ]);
    expect(first.stderr.trimEnd().split("\n")).toEqual(lines.slice(0, 101));
    expect(phoneNumbersIn(database)).toEqual(good);

    const again = await numberpool(database, "number", "import", file, "--skip-bad", "--json");
    const outcome = JSON.parse(again.stdout);
    expect({ ...outcome, errors: outcome.errors.length }).toEqual({
      file,
      organization: "default",
      rows: 1_650,
      imported: 0,
      bad: 1_650,
      errors: 100,
    });
    expect(outcome.errors[0]).toEqual({ line: 2, reason: "The phone number is already registered." });
    const refused = await numberpool(database, "number", "import", file, "--json");
    expect([refused.code, JSON.parse(refused.stdout)]).toEqual([1, outcome]);
    expect(phoneNumbersIn(database)).toEqual(good);
  });
});
