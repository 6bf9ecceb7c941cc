import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type CommandLine, readCommandLine } from "../../src/cli/command-line.ts";
import { COMMANDS } from "../../src/cli/command-list.ts";
import { ROOT } from "../operation/program.ts";
import { numberpool } from "./numberpool.ts";

const read = (...args: string[]): CommandLine => readCommandLine(COMMANDS, args);

function errorsOf(...args: string[]): readonly string[] {
  const line = read(...args);
  if (line.kind === "unknown") return [line.error];
  return line.kind === "command" ? line.errors : [];
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

  it.each(COMMANDS.map((command) => [command.name, command] as const))("names the options of %s", (name, command) => {
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

  it("is printed by the program, and docs/operations.md says the same", async () => {
    const { code, stdout, stderr } = await numberpool("unused.db", "help");
    expect([code, stderr]).toEqual([0, ""]);
    expect(stdout).toBe(`${helpOf("help")}\n`);
    const rows = readFileSync(join(ROOT, "docs/operations.md"), "utf8").split("\n");
    for (const { name, argument, options, summary } of COMMANDS) {
      const required = options
        .filter(({ isRequired }) => isRequired)
        .map((option) => `--${option.name} ${option.value}`);
      const call = [name, argument, ...required].filter((word) => word !== undefined).join(" ");
      expect(rows).toContain(`| \`${call}\` | ${summary} |`);
    }
  });
});

describe("An unknown command", () => {
  it.each([
    [["server"], "unknown command `server`; `numberpool help` lists the commands."],
    [["key"], "unknown command `key`; use one of `key create`, `key list`, `key revoke`."],
    [["key", "make"], "unknown command `key`; use one of `key create`, `key list`, `key revoke`."],
    [["number"], "unknown command `number`; use one of `number import`, `number reset-health`."],
    [["serve-all", "--help"], "unknown command `serve-all`; `numberpool help` lists the commands."],
    [["--database", "x.db", "serve"], "unknown command `--database`; `numberpool help` lists the commands."],
  ])("%j is reported in one sentence", (args, error) => {
    expect(errorsOf(...args)).toEqual([error]);
  });
});

describe("Options", () => {
  const of = (...args: string[]) => {
    const line = read(...args);
    if (line.kind !== "command") throw new Error(`${args.join(" ")} is not a command`);
    const { flags, call, errors, command } = line;
    expect(errors).toEqual([]);
    return { name: command.name, flags, ...call, switches: [...call.switches] };
  };

  it("are read in any position, together with the settings", () => {
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
    ["an unknown one", ["serve", "--json"], ["unknown option `--json`; `numberpool serve --help` lists the options."]],
    [
      "with its value",
      ["serve", "--json=s3cr3t"],
      ["unknown option `--json`; `numberpool serve --help` lists the options."],
    ],
    [
      "and beside it",
      ["serve", "--api-key", "s3cr3t"],
      ["unknown option `--api-key`; `numberpool serve --help` lists the options."],
    ],
    ["a short one", ["check", "-v"], ["unknown option `-v`; `numberpool check --help` lists the options."]],
    [
      "one of the class",
      ["check", "--constructor"],
      ["unknown option `--constructor`; `numberpool check --help` lists the options."],
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
      ["unknown option `--no-database`; `numberpool serve --help` lists the options."],
    ],
    [
      "no of what has none",
      ["check", "--no-json"],
      ["unknown option `--no-json`; `numberpool check --help` lists the options."],
    ],
    ["one that is required", ["key", "create"], ["`key create` needs --organization NAME."]],
    ["an argument that is missing", ["key", "revoke"], ["`key revoke` needs the argument ID."]],
    ["an argument that is empty", ["backup", ""], ["`backup` needs the argument FILE."]],
    ["a word too many", ["backup", "a", "s3cr3t"], ["`backup` takes only the argument FILE."]],
    ["a word where none is", ["serve", "s3cr3t"], ["`serve` takes no argument."]],
    [
      "several",
      ["key", "create", "--size", "--json=1", "x"],
      [
        "unknown option `--size`; `numberpool key create --help` lists the options.",
        "--json takes no value.",
        "`key create` needs --organization NAME.",
        "`key create` takes no argument.",
      ],
    ],
  ])("with %s are reported in one sentence each", (_what, args, errors) => {
    expect(errorsOf(...args)).toEqual(errors);
  });

  it("are reported by the program together with other errors, and nothing runs", async () => {
    const { code, stdout, stderr } = await numberpool("", "key", "create", "--organisation", "x");
    expect([code, stdout]).toEqual([1, ""]);
    expect(stderr.split("\n")).toEqual([
      "numberpool: unknown option `--organisation`; `numberpool key create --help` lists the options.",
      "numberpool: `key create` needs --organization NAME.",
      "numberpool: NUMBERPOOL_DATABASE: database must not be empty.",
      "",
    ]);
  });
});
