import { z } from "zod";
import { carrierSettings } from "../carriers/registry.ts";
import type { Config } from "./config.ts";
import { SETTINGS, type SettingSchemas } from "./settings.ts";
import { isLoopback } from "./values.ts";

const CARRIER_NAME = /^[a-z][a-z0-9_-]{0,62}$/;

const schema = z.strictObject({
  ...(Object.fromEntries(SETTINGS.map((setting) => [setting.name, setting.schema])) as SettingSchemas),
  carriers: z.record(
    z.string().regex(CARRIER_NAME, "must have 1 to 63 of a-z, 0-9, _ and -, a letter first"),
    carrierSettings,
  ),
});

type Checked = z.output<typeof schema>;

/** The raw values of settings, by name, each with its source. */
export type SourcedValues = ReadonlyMap<string, { readonly value: unknown; readonly source: string }>;

/** The configuration, and its values as the file spells them; or one sentence for each error. */
export type CheckedSettings =
  | { readonly config: Config; readonly inEffect: Readonly<Record<string, unknown>> }
  | { readonly errors: readonly string[] };

/** Checks the values of all settings, one by one and together. */
export function checkSettings(values: SourcedValues): CheckedSettings {
  const raw = Object.fromEntries([...values].map(([name, { value }]) => [name, value]));
  const checked = schema.safeParse(raw);
  if (!checked.success) return { errors: checked.error.issues.map((issue) => describe(issue, values)) };
  const errors = combinationErrors(checked.data);
  if (errors.length > 0) return { errors };
  const config = { ...camelCased(checked.data), carriers: new Map(Object.entries(checked.data.carriers)) };
  return { config: Object.freeze(config), inEffect: { ...checked.data, ...addressesOf(raw) } };
}

/** One sentence that names the source and the setting. */
function describe(issue: z.core.$ZodIssue, values: SourcedValues): string {
  const [name = ""] = issue.path.map(String);
  const { message } = issue.code === "invalid_key" ? (issue.issues[0] ?? issue) : issue;
  const reason = message.replace(/^[A-Z]/, (letter) => letter.toLowerCase());
  return `${values.get(name)?.source}: ${issue.path.map(String).join(".")} ${reason}.`;
}

/** The errors of settings that are valid one by one, but not together. */
function combinationErrors(settings: Checked): string[] {
  const errors: string[] = [];
  const { tls_certificate, tls_key, tls_client_authority, allow_plaintext } = settings;
  if ((tls_certificate === undefined) !== (tls_key === undefined)) {
    errors.push("tls_certificate and tls_key belong together; set both or neither.");
  }
  if (tls_client_authority !== undefined && tls_certificate === undefined) {
    errors.push("tls_client_authority needs tls_certificate and tls_key.");
  }
  for (const name of ["http_address", "grpc_address"] as const) {
    if (tls_certificate !== undefined || allow_plaintext || isLoopback(settings[name])) continue;
    errors.push(
      `${name} can be reached from other machines: set tls_certificate and tls_key, or allow_plaintext behind a proxy that terminates TLS.`,
    );
  }
  return errors;
}

function camelCased(settings: Checked): Omit<Config, "carriers"> {
  const entries = SETTINGS.map(({ name }) => [
    name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase()),
    settings[name],
  ]);
  return Object.fromEntries(entries);
}

/** Addresses as they were spelled: checking parses them into host and port. */
function addressesOf(raw: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(raw).filter(([name]) => name.endsWith("_address")));
}
