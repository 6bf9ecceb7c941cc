import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const ROOT = join(import.meta.dirname, "../..");
const SCRIPT = join(ROOT, "tools/check-generated.ts");
const env = { ...process.env, PATH: `${join(ROOT, "node_modules/.bin")}:${process.env.PATH}` };

const folder = mkdtempSync(join(tmpdir(), "numberpool-generated-test-"));
const write = (name: string, text: string) => writeFileSync(join(folder, name), text);
const run = (command: string, ...args: readonly string[]) =>
  spawnSync(command, args, { cwd: folder, env, encoding: "utf8" });
const check = () => run(process.execPath, SCRIPT);

beforeAll(() => {
  mkdirSync(join(folder, "proto"));
  write("buf.yaml", "version: v2\nmodules: [{ path: proto }]\n");
  write("buf.gen.yaml", "version: v2\nplugins: [{ local: protoc-gen-es, out: gen }]\ninputs: [{ directory: . }]\n");
  write("proto/one.proto", 'syntax = "proto3";\n\npackage one;\n\nmessage One {}\n');
  expect(run("buf", "generate").status).toBe(0);
});

afterAll(() => rmSync(folder, { recursive: true }));

describe("The check of generated code", () => {
  it("passes while gen/ is what the protos generate", () => {
    const { status, stderr } = check();
    expect([status, stderr]).toEqual([0, ""]);
  });

  it("names files that differ, are missing or are left over, and changes none", () => {
    write("proto/two.proto", 'syntax = "proto3";\n\npackage two;\n\nmessage Two {}\n');
    write("proto/one.proto", 'syntax = "proto3";\n\npackage one;\n\nmessage Other {}\n');
    write("gen/old_pb.js", "");
    for (const _ of ["first", "second"]) {
      const { status, stderr } = check();
      expect(status).toBe(1);
      for (const name of ["one_pb.js", "two_pb.js", "old_pb.js"]) expect(stderr).toContain(`gen/${name} differs`);
      expect(stderr).toContain("Run `npm run generate`");
    }
  });
});
