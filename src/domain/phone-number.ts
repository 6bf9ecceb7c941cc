import { areaCodesByRegion, nonGeographicAreaCodes } from "./geography/area-codes.ts";
import { callingCodes } from "./geography/calling-codes.ts";
import { nationalPrefixes } from "./geography/national-prefixes.ts";

const digitZero = 48;
const digitNine = 57;
const plus = 43;

/**
 * Whether the value is a possible E.164 number: a plus sign and at most 15 ASCII digits, a calling
 * code in use, and a number of further digits that its main country uses, by libphonenumber's
 * metadata. For +1 these are ten, the first from 2 to 9. The number need not be assigned:
 * `+15550001234` is possible.
 */
export function isPossibleE164(value: string): boolean {
  const { length } = value;
  if (length > 16 || value.charCodeAt(0) !== plus) {
    return false;
  }
  let node = 0;
  let lengths = 0;
  let position = 1;
  for (; position < length && lengths === 0; position++) {
    const digit = value.charCodeAt(position) - digitZero;
    if (!(digit >= 0 && digit <= 9)) {
      return false;
    }
    node = branches[node * 10 + digit] ?? 0;
    if (node === 0) {
      return false;
    }
    lengths = possibleLengths[node] ?? 0;
  }
  if ((lengths & (1 << (length - position))) === 0) {
    return false;
  }
  if (node === northAmerica && value.charCodeAt(2) < digitZero + 2) {
    return false;
  }
  for (; position < length; position++) {
    const unit = value.charCodeAt(position);
    if (unit < digitZero || unit > digitNine) {
      return false;
    }
  }
  return true;
}

/**
 * The canonical spelling of a value, as libphonenumber reads it: without the national prefix that
 * callers dial at home, such as the zero in +610412555010 for +61412555010. Undefined when the
 * value is canonical already, or its calling code is not in use. The value is a plus sign and
 * digits.
 */
export function respelled(value: string): string | undefined {
  let node = 0;
  let position = 1;
  while (position < value.length && !possibleLengths[node]) {
    node = branches[node * 10 + value.charCodeAt(position) - digitZero] ?? 0;
    if (node === 0) {
      return undefined;
    }
    position += 1;
  }
  const rule = prefixRules.get(node);
  if (rule === undefined) {
    return undefined;
  }
  const national = value.slice(position);
  const match = rule.prefix.exec(national);
  if (match === null || match[0] === "") {
    return undefined;
  }
  // When the last group did not match, the prefix is only removed.
  const rest =
    rule.transform !== undefined && match.at(-1) !== undefined && match.length > 1
      ? national.replace(rule.prefix, rule.transform)
      : national.slice(match[0].length);
  // Some numbers begin with the digits of a prefix, such as +7 800: they are not valid without it.
  if (rest === national || (rule.national.test(national) && !rule.national.test(rest))) {
    return undefined;
  }
  const spelling = value.slice(0, position) + rest;
  const lengths = rule.lengths.get(countryOf(spelling) ?? "") ?? possibleLengths[node] ?? 0;
  return (lengths & (1 << rest.length)) === 0 ? undefined : spelling;
}

/**
 * Why the value is not a canonical E.164 number, as a sentence about `field` that suggests the
 * number probably meant; undefined when it is one.
 */
export function e164Error(value: string, field: string): string | undefined {
  const isPossible = isPossibleE164(value);
  if (isPossible && respelled(value) === undefined) {
    return undefined;
  }
  const suggestion = /^\+\d{2,20}$/.test(value) ? canonicalSpelling(value) : undefined;
  if (suggestion !== undefined) {
    return `${field} ${value} has a national prefix after the calling code, which E.164 omits. Send ${suggestion} if you mean that number.`;
  }
  return `${field} must be a possible number in E.164 form with a leading plus, such as +13125550001.`;
}

/** The first accepted spelling within a value; the prefix may occur more than once. */
function canonicalSpelling(value: string): string | undefined {
  let spelling = respelled(value);
  for (let round = 0; round < 3 && spelling !== undefined; round++) {
    const next = respelled(spelling);
    if (next === undefined) {
      return isPossibleE164(spelling) ? spelling : undefined;
    }
    spelling = next;
  }
  return undefined;
}

/**
 * The ISO 3166-1 alpha-2 code of a possible E.164 number's country (or territory with its own code,
 * such as `PR`), as libphonenumber has it: `001` for calling codes of no country, such as +883. A
 * number that belongs to none of the smaller countries belongs to the main country of its calling
 * code, so +1 with an unassigned area code is `US`. Undefined when the calling code is not in use.
 */
export function countryOf(e164: string): string | undefined {
  let node = 0;
  let country: string | undefined;
  for (let position = 1; position < e164.length; position++) {
    node = branches[node * 10 + e164.charCodeAt(position) - digitZero] ?? 0;
    if (node === 0) {
      break;
    }
    country = countries[node] ?? country;
  }
  return country;
}

/**
 * The area code of a possible E.164 number of +1, assigned or not; undefined when it is toll-free
 * or not of +1.
 */
export function areaCodeOf(e164: string): string | undefined {
  const areaCode = areaCodeNumber(e164);
  return tollFree[areaCode] ? undefined : areaCodes[areaCode];
}

/**
 * The region that an area code serves, a key that is unique across countries: the ISO 3166-2 code
 * of a state or province, `US-NY`; a joined code where provinces share area codes, `CA-NS/PE`; else
 * the country or territory, `JM`. Undefined when the code is not assigned to a place.
 */
export function regionOf(areaCode: string): string | undefined {
  return regions.get(areaCode);
}

/**
 * `toll_free` for the toll-free prefixes of +1 (800, 833, 844, 855, 866, 877, 888), else
 * `long_code`.
 */
export function lineTypeOf(e164: string): "toll_free" | "long_code" {
  return tollFree[areaCodeNumber(e164)] ? "toll_free" : "long_code";
}

/** The area code as a number, or -1 if the number is not of +1. */
function areaCodeNumber(e164: string): number {
  if (e164.charCodeAt(1) !== digitZero + 1) {
    return -1;
  }
  return e164.charCodeAt(2) * 100 + e164.charCodeAt(3) * 10 + e164.charCodeAt(4) - digitZero * 111;
}

const tollFree: boolean[] = Array.from({ length: 1000 }, () => false);
for (const prefix of [800, 833, 844, 855, 866, 877, 888]) {
  tollFree[prefix] = true;
}

// Shared strings, so that reading an area code allocates nothing.
const areaCodes: readonly string[] = Array.from({ length: 1000 }, (_, number) => String(number).padStart(3, "0"));

const regions = new Map<string, string>();
for (const [region, served] of Object.entries(areaCodesByRegion)) {
  for (const areaCode of served.split(" ")) {
    regions.set(areaCode, region);
  }
}

// A tree of digits that starts at the calling code: digit d leads from node n to branches[n * 10 +
// d]. 0 is the root and means "no further". The last country on the path is the number's.
const branches: number[] = Array.from({ length: 10 }, () => 0);
const countries: (string | undefined)[] = [undefined];
/** By node at the end of a calling code: bit n is set if n digits may follow. */
const possibleLengths: number[] = [0];

function bitsOf(lengths: readonly number[]): number {
  return lengths.reduce((bits, length) => bits | (1 << length), 0);
}

function grow(digits: string, country: string): number {
  let node = 0;
  for (let position = 0; position < digits.length; position++) {
    const branch = node * 10 + digits.charCodeAt(position) - digitZero;
    let next = branches[branch] ?? 0;
    if (next === 0) {
      next = countries.length;
      branches[branch] = next;
      for (let digit = 0; digit < 10; digit++) {
        branches.push(0);
      }
      countries.push(undefined);
      possibleLengths.push(0);
    }
    node = next;
  }
  countries[node] = country;
  return node;
}

for (const { code, countries: sharing, lengths, leadingDigits } of callingCodes) {
  const end = grow(code, sharing[0] ?? "");
  possibleLengths[end] = bitsOf(lengths);
  for (const [country, beginnings] of Object.entries(leadingDigits ?? {})) {
    for (const beginning of beginnings.split(" ")) {
      grow(code + beginning, country);
    }
  }
}
for (const [region, served] of [...Object.entries(areaCodesByRegion), ...Object.entries(nonGeographicAreaCodes)]) {
  for (const areaCode of served.split(" ")) {
    grow(`1${areaCode}`, region.slice(0, 2));
  }
}
/** The node at the end of +1. */
const northAmerica = branches[1];

type PrefixRule = {
  readonly prefix: RegExp;
  readonly transform: string | undefined;
  readonly national: RegExp;
  /** As `possibleLengths`, by country. */
  readonly lengths: ReadonlyMap<string, number>;
};

/** By node at the end of a calling code. */
const prefixRules = new Map<number, PrefixRule>();
for (const { code, prefix, transform, national, lengths } of nationalPrefixes) {
  const end = Array.from(code).reduce((node, digit) => branches[node * 10 + Number(digit)] ?? 0, 0);
  prefixRules.set(end, {
    prefix: new RegExp(`^(?:${prefix})`),
    transform,
    national: new RegExp(`^(?:${national})$`),
    lengths: new Map(Object.entries(lengths ?? {}).map(([country, some]) => [country, bitsOf(some)])),
  });
}
