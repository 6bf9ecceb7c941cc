import { callingCodes } from "./calling-codes.ts";

/** Places with an ISO 3166-1 alpha-2 code but without a calling code of their own. */
const WITHOUT_CALLING_CODE = ["AQ", "BV", "GS", "HM", "PN", "TF", "UM"];

/** Codes that people write for a country, and the one that ISO 3166-1 has. */
const OTHERWISE_KNOWN_AS: Readonly<Record<string, string>> = { UK: "GB", EL: "GR" };

const REGIONS: ReadonlySet<string> = new Set([
  ...callingCodes.flatMap(({ countries }) => countries).filter((country) => /^[A-Z]{2}$/.test(country)),
  ...WITHOUT_CALLING_CODE,
]);

/** Whether a text is the ISO 3166-1 alpha-2 code, in upper case, of a country or territory. */
export function isRegion(text: string): boolean {
  return REGIONS.has(text);
}

/** The region that somebody who wrote such a text probably meant; undefined when that cannot be told. */
export function suggestedRegion(text: string): string | undefined {
  const code = text.trim().toUpperCase();
  return isRegion(code) ? code : OTHERWISE_KNOWN_AS[code];
}
