import { z } from "zod";
import type { Carrier, CarrierParts, CarrierType } from "./carrier.ts";
import { sandbox } from "./sandbox/sandbox.ts";

/** Every carrier type, by the `type` that the configuration gives it. */
export const CARRIER_TYPES: Readonly<Record<string, CarrierType>> = {
  sandbox,
};

/** The checked settings of one configured carrier, under the names that the file uses. */
export type CarrierSettings = z.output<typeof carrierSettings>;

const TYPE_NAMES = Object.keys(CARRIER_TYPES).join(", ");
const [first, ...others] = Object.values(CARRIER_TYPES).map(({ settings }) => settings as TypedSettings);

/** The schema of one configured carrier, of any type. */
export const carrierSettings = z.discriminatedUnion("type", [first as TypedSettings, ...others], {
  error: ({ code }) => (code === "invalid_union" ? `must be one of ${TYPE_NAMES}` : undefined),
});

type TypedSettings = z.ZodObject<{ readonly type: z.ZodLiteral<string> }>;

/** Opens a configured carrier. */
export function openCarrier(parts: CarrierParts, settings: CarrierSettings): Carrier {
  return (CARRIER_TYPES[settings.type] as CarrierType).open(parts, settings);
}
