import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CARRIER_TYPES } from "../../src/carriers/registry.ts";
import { makePool, ROOT, run, sendTo, statusOf } from "../operation/program.ts";
import { startServer, temporaryFolder } from "../server.ts";
import { until } from "../wire/pools.ts";

const PIGEON = `import { z } from "zod";
import type { CarrierType } from "../carrier.ts";

const settings = z.strictObject({
  type: z.literal("pigeon"),
  loft_password: z.string(),
  pigeons: z.int().min(1).default(3),
});

/** A throwaway carrier: it answers at once, and each of its pigeons carries one message. */
export const pigeon: CarrierType<typeof settings> = {
  settings,
  open: ({ name, clock, onEvent }, { pigeons }) => ({
    name,
    window: pigeons,
    submit: async ({ messageId }) => {
      const carrierMessageId = \`pigeon-\${messageId}\`;
      setTimeout(() => onEvent(name, { kind: "receipt", carrierMessageId, report: { kind: "delivered", at: clock() } }));
      return { kind: "accepted", carrierMessageId };
    },
    state: () => ({ kind: "disconnected", reason: "The loft is closed." }),
    close: async () => {},
  }),
};
`;

const folder = temporaryFolder();
const at = (path: string) => join(folder.path, path);
const program = at("bin/numberpool.js");

/** A copy of the program with one more folder, and two more lines in the registry. */
beforeAll(() => {
  for (const path of ["src", "gen", "bin", "package.json", "tsconfig.json"]) {
    cpSync(join(ROOT, path), at(path), { recursive: true });
  }
  symlinkSync(join(ROOT, "node_modules"), at("node_modules"));
  mkdirSync(at("src/carriers/pigeon"));
  writeFileSync(at("src/carriers/pigeon/pigeon.ts"), PIGEON);
  const registry = readFileSync(at("src/carriers/registry.ts"), "utf8");
  const extended = registry
    .replace("\nimport { sandbox }", '\nimport { pigeon } from "./pigeon/pigeon.ts";\nimport { sandbox }')
    .replace("\n  sandbox,\n", "\n  pigeon,\n  sandbox,\n");
  expect(extended.split("\n")).toHaveLength(registry.split("\n").length + 2);
  writeFileSync(at("src/carriers/registry.ts"), extended);
});

afterAll(() => folder.remove());

function configOf(birds: string): Record<string, string> {
  writeFileSync(at("numberpool.yaml"), `carriers:\n  birds: ${birds}\n  sandbox: {type: sandbox}\n`);
  return { NUMBERPOOL_CONFIG: at("numberpool.yaml") };
}

async function check(birds: string) {
  const started = run(["check", "--json"], configOf(birds), { file: program });
  const { code } = await started.exited;
  return { code, stdout: started.stdout(), stderr: started.stderr() };
}

describe("The registry", () => {
  it.each(Object.entries(CARRIER_TYPES))("has %s under the type of its settings", (name, { settings }) => {
    expect(settings.shape.type).toMatchObject({ value: name });
  });
});

describe("A carrier that is one more folder and its line in the registry", () => {
  it("has the right types", () => {
    execFileSync(join(ROOT, "node_modules/.bin/tsc"), ["--project", at("tsconfig.json")], { stdio: "inherit" });
  });

  it("has settings with defaults and masked secrets in the configuration", async () => {
    const { code, stdout, stderr } = await check("{type: pigeon, loft_password: s3cr3t}");
    expect([code, stderr]).toEqual([0, ""]);
    expect(JSON.parse(stdout).carriers.value).toMatchObject({
      birds: { type: "pigeon", loft_password: "********", pigeons: 3 },
      sandbox: { type: "sandbox", latency_milliseconds: 20 },
    });
  });

  it.each([
    ["a setting out of bounds", "{type: pigeon, loft_password: x, pigeons: 0}", "carriers.birds.pigeons "],
    ["an unknown setting", "{type: pigeon, loft_password: x, speed: 1}", "carriers.birds "],
    ["no required setting", "{type: pigeon}", "carriers.birds.loft_password "],
    ["another type", "{type: dove}", "carriers.birds.type must be one of pigeon, sandbox."],
  ])("is refused with %s", async (_what, birds, error) => {
    const { code, stdout, stderr } = await check(birds);
    expect([code, stdout]).toEqual([1, ""]);
    expect(stderr).toMatch(/^[^\n]+\.\n$/);
    expect(stderr).toContain(`numberpool: ${at("numberpool.yaml")}: ${error}`);
  });

  it("sends messages, reports receipts and shows its state", async () => {
    const env = configOf("{type: pigeon, loft_password: s3cr3t}");
    const server = await startServer({ database: at("pigeon.db"), env, program });
    const profile = await makePool(server, [{ phone_number: "+12125550100", carrier: "birds" }]);
    const { id } = (await sendTo(server, profile, "+13125550101")).body.data;
    await until(
      () => statusOf(server, id),
      (status) => status === "delivered",
    );
    const metrics = await (await fetch(`${server.metrics}/metrics`)).text();
    expect(metrics).toContain('numberpool_carrier_connected{carrier="birds"} 0\n');
    expect(metrics).toContain('numberpool_carrier_connected{carrier="sandbox"} 1\n');
    expect(await server.stop()).toBe(0);
    expect(server.stderr()).toBe("");
  });
});
