import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type CommandLine, readCommandLine } from "../../src/commands/command-line.ts";
import { COMMANDS } from "../../src/main.ts";
import { ROOT } from "../operation/program.ts";
import { numberpool } from "./numberpool.ts";

const read = (...args: string[]): CommandLine => readCommandLine(COMMANDS, args);

function complaintsOf(...args: string[]): readonly string[] {
  const line = read(...args);
  if (line.kind === "refused") return [line.complaint];
  return line.kind === "command" ? line.complaints : [];
}

function helpOf(...args: string[]): string {
  const line = read(...args);
  return line.kind === "help" ? line.text : "";
}

describe("Help", () => {
  it("lists every command with one line", () => {
    for (const args of [[], ["help"], ["--help"], ["help", "--help"]]) {
      const lines = helpOf(...args).split("\n");
      for (const { name, summary } of COMMANDS) {
        expect(lines.filter((line) => line.includes(`numberpool ${name} `) && line.endsWith(summary))).toHaveLength(1);
      }
      for (const line of lines) expect(line.length).toBeLessThanOrEqual(140);
    }
  });

  it.each(COMMANDS.map((command) => [command.name, command] as const))("tells the options of %s", (name, command) => {
    const words = name.split(" ");
    for (const args of [
      [...words, "--help"],
      ["help", ...words],
      [...words, "x", "--nonsense", "--help"],
    ]) {
      const text = helpOf(...args);
      expect(text.split("\n")[0]).toMatch(new RegExp(`^numberpool ${name} `));
      expect(text).toContain(command.summary);
      for (const option of command.options) {
        expect(text).toContain(`--${option.name}`);
        expect(text).toContain(option.description);
      }
      for (const setting of ["--database", "--config", "--log-level", "--no-sample"]) expect(text).toContain(setting);
      expect(text).not.toContain("--api-key");
    }
  });

  it("lists the commands of a first word", () => {
    const text = helpOf("key", "--help");
    expect(text).toContain("numberpool key create");
    expect(text).not.toContain("numberpool number import");
  });

  it("is printed by the program, and the README tells the same", async () => {
    const { code, stdout, stderr } = await numberpool("unused.db", "help");
    expect([code, stderr]).toEqual([0, ""]);
    expect(stdout).toBe(`${helpOf("help")}\n`);
    const readme = readFileSync(join(ROOT, "README.md"), "utf8").split("\n");
    for (const { name, argument, options, summary } of COMMANDS) {
      const required = options
        .filter(({ isRequired }) => isRequired)
        .map((option) => `--${option.name} ${option.value}`);
      const call = [name, argument, ...required].filter((word) => word !== undefined).join(" ");
      expect(readme).toContain(`| \`${call}\` | ${summary} |`);
    }
  });
});

describe("What is no command", () => {
  it.each([
    [["server"], "server is no command; `numberpool help` lists them."],
    [["key"], "key is no command; there are `key create`, `key list`, `key revoke`."],
    [["key", "make"], "key is no command; there are `key create`, `key list`, `key revoke`."],
    [["number"], "number is no command; there are `number import`, `number reset-health`."],
    [["serve-all", "--help"], "serve-all is no command; `numberpool help` lists them."],
    [["--database", "x.db", "serve"], "--database is no command; `numberpool help` lists them."],
  ])("%j is told in one sentence", (args, complaint) => {
    expect(complaintsOf(...args)).toEqual([complaint]);
  });
});

describe("Options", () => {
  const of = (...args: string[]) => {
    const line = read(...args);
    if (line.kind !== "command") throw new Error(`${args.join(" ")} is no command`);
    const { flags, given, complaints, command } = line;
    expect(complaints).toEqual([]);
    return { name: command.name, flags, ...given, switches: [...given.switches] };
  };

  it("are read wherever they stand, beside the settings", () => {
    const read = { name: "number import", flags: { database: "x.db", "log-level": "error" } };
    const rest = { argument: "n.csv", values: { organization: "A B" }, switches: ["skip-bad"] };
    for (const args of [
      ["n.csv", "--organization", "A B", "--skip-bad", "--database", "x.db", "--log-level=error"],
      ["--organization=A B", "--database=x.db", "--log-level", "error", "--skip-bad", "n.csv"],
      ["--skip-bad", "--organization", "A B", "--log-level=error", "--database=x.db", "--", "n.csv"],
    ]) {
      expect(of("number", "import", ...args)).toEqual({ ...read, ...rest });
    }
    expect(of("backup", "--", "--x").argument).toBe("--x");
    expect(of("key", "create", "--organization=--x").values).toEqual({ organization: "--x" });
  });

  it("of serve are the settings", () => {
    expect(of("serve", "--no-sample", "--http-address", "[::1]:0", "--allow-plaintext", "--config", "c.yaml")).toEqual({
      name: "serve",
      flags: { "no-sample": true, "http-address": "[::1]:0", "allow-plaintext": true, config: "c.yaml" },
      argument: "",
      values: {},
      switches: [],
    });
  });

  it.each([
    ["an unknown one", ["serve", "--json"], ["--json is no option; `numberpool serve --help` lists them."]],
    ["with its value", ["serve", "--json=s3cr3t"], ["--json is no option; `numberpool serve --help` lists them."]],
    [
      "and beside it",
      ["serve", "--api-key", "s3cr3t"],
      ["--api-key is no option; `numberpool serve --help` lists them."],
    ],
    ["a short one", ["check", "-v"], ["-v is no option; `numberpool check --help` lists them."]],
    [
      "one of the class",
      ["check", "--constructor"],
      ["--constructor is no option; `numberpool check --help` lists them."],
    ],
    ["a value that is missing", ["serve", "--database"], ["--database needs a value: --database VALUE."]],
    [
      "a value that looks like an option",
      ["key", "list", "--organization", "--json"],
      ["--organization needs a value: --organization NAME."],
    ],
    ["a value too many", ["check", "--json=yes"], ["--json takes no value."]],
    [
      "no of what has a value",
      ["serve", "--no-database"],
      ["--no-database is no option; `numberpool serve --help` lists them."],
    ],
    ["no of what has none", ["check", "--no-json"], ["--no-json is no option; `numberpool check --help` lists them."]],
    ["one that is required", ["key", "create"], ["`key create` needs --organization NAME."]],
    ["an argument that is missing", ["key", "revoke"], ["`key revoke` needs its ID."]],
    ["an argument that is empty", ["backup", ""], ["`backup` needs its FILE."]],
    ["a word too many", ["backup", "a", "s3cr3t"], ["`backup` takes FILE only; there are more words than that."]],
    ["a word where none is", ["serve", "s3cr3t"], ["`serve` takes options only; there are more words than that."]],
    [
      "several",
      ["key", "create", "--size", "--json=1", "x"],
      [
        "--size is no option; `numberpool key create --help` lists them.",
        "--json takes no value.",
        "`key create` needs --organization NAME.",
        "`key create` takes options only; there are more words than that.",
      ],
    ],
  ])("with %s are told in one sentence each", (_what, args, complaints) => {
    expect(complaintsOf(...args)).toEqual(complaints);
  });

  it("are told by the program together with what is wrong elsewhere, and nothing is done", async () => {
    const { code, stdout, stderr } = await numberpool("", "key", "create", "--organisation", "x");
    expect([code, stdout]).toEqual([1, ""]);
    expect(stderr.split("\n")).toEqual([
      "numberpool: --organisation is no option; `numberpool key create --help` lists them.",
      "numberpool: `key create` needs --organization NAME.",
      "numberpool: NUMBERPOOL_DATABASE: database must not be empty.",
      "",
    ]);
  });
});
