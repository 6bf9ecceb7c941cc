import { callingCodes } from "./calling-codes.ts";

/** ISO 3166-1 alpha-2 codes of places without a calling code of their own. */
const WITHOUT_CALLING_CODE = ["AQ", "BV", "GS", "HM", "PN", "TF", "UM"];

/** Common wrong country codes, and the ISO 3166-1 code for each. */
const CODE_BY_ALIAS: Readonly<Record<string, string>> = { UK: "GB", EL: "GR" };

const REGIONS: ReadonlySet<string> = new Set([
  ...callingCodes.flatMap(({ countries }) => countries).filter((country) => /^[A-Z]{2}$/.test(country)),
  ...WITHOUT_CALLING_CODE,
]);

/** Whether the string is the ISO 3166-1 alpha-2 code, in upper case, of a country or territory. */
export function isRegion(text: string): boolean {
  return REGIONS.has(text);
}

/** The region code that a caller probably means by an unknown one; undefined: no guess. */
export function suggestedRegion(text: string): string | undefined {
  const code = text.trim().toUpperCase();
  return isRegion(code) ? code : CODE_BY_ALIAS[code];
}
