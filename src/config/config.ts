import type { z } from "zod";
import type { CarrierSettings } from "../carriers/registry.ts";
import type { SettingName, SettingSchemas } from "./settings.ts";

/** The configuration, checked: each setting under its name in camel case, and the carriers. */
export type Config = {
  readonly [Name in SettingName as CamelCase<Name>]: z.output<SettingSchemas[Name]>;
} & {
  readonly carriers: ReadonlyMap<string, CarrierSettings>;
};

type CamelCase<Name extends string> = Name extends `${infer Head}_${infer Tail}`
  ? `${Head}${Capitalize<CamelCase<Tail>>}`
  : Name;
