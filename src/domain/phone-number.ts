import { areaCodesByRegion, nonGeographicAreaCodes } from "./geography/area-codes.ts";
import { callingCodes } from "./geography/calling-codes.ts";
import { nationalPrefixes } from "./geography/national-prefixes.ts";

const digitZero = 48;
const digitNine = 57;
const plus = 43;

/**
 * Whether the value is an E.164 number that could exist: a plus sign and at most 15 ASCII digits, a calling code in
 * use, and as many digits after it as numbers of its main country can have, by libphonenumber's metadata; for +1 these
 * are ten, of which the first is 2 to 9. Whether the number is assigned plays no part: `+15550001234` is possible.
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
 * The number that libphonenumber reads in the value: one subscriber has one spelling, and what callers dial before a
 * national number at home is not part of it, as the zero in +610412555010 for +61412555010. Undefined if the value is
 * that spelling already, or its calling code is not in use. The value is a plus sign and digits.
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
  // Without its last group the prefix is only taken away.
  const rest =
    rule.transform !== undefined && match.at(-1) !== undefined && match.length > 1
      ? national.replace(rule.prefix, rule.transform)
      : national.slice(match[0].length);
  // Some numbers begin with the digits of a prefix, as +7 800: taken away, no number would be left.
  if (rest === national || (rule.national.test(national) && !rule.national.test(rest))) {
    return undefined;
  }
  const spelling = value.slice(0, position) + rest;
  const lengths = rule.lengths.get(countryOf(spelling) ?? "") ?? possibleLengths[node] ?? 0;
  return (lengths & (1 << rest.length)) === 0 ? undefined : spelling;
}

/**
 * Why the value is not a number's one spelling in E.164, as a sentence about `field` that shows the number probably meant;
 * undefined if it is one.
 */
export function e164Error(value: string, field: string): string | undefined {
  const isPossible = isPossibleE164(value);
  if (isPossible && respelled(value) === undefined) {
    return undefined;
  }
  const meant = /^\+\d{2,20}$/.test(value) ? meantBy(value) : undefined;
  if (meant !== undefined) {
    return `${field} ${value} is not how E.164 writes this number: no national prefix follows the calling code. Send ${meant} if that is meant.`;
  }
  return `${field} must be one possible number in E.164 form with a leading plus, such as +13125550001.`;
}

/** The first accepted spelling behind a value that is not one; a prefix may stand there more than once. */
function meantBy(value: string): string | undefined {
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
 * The ISO 3166-1 alpha-2 code of the country (or territory with a code of its own, such as `PR`) that a possible E.164
 * number belongs to, as libphonenumber has it: `001` for calling codes of no country, such as +883. A number which
 * is none of the smaller countries' goes to the main country of its calling code, so +1 with an area code that is not
 * assigned is `US`. Undefined if the calling code is not in use.
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

/** The area code of a possible E.164 number of +1, assigned or not; undefined if it is toll-free or not of +1. */
export function areaCodeOf(e164: string): string | undefined {
  const areaCode = areaCodeNumber(e164);
  return tollFree[areaCode] ? undefined : areaCodes[areaCode];
}

/**
 * The region that an area code serves, a key that is unique across countries: the ISO 3166-2 code of a state or
 * province, `US-NY`; joined where provinces share their area codes, `CA-NS/PE`; elsewhere in the plan the country or
 * territory is one region, `JM`. Undefined if the code is not assigned to a place.
 */
export function regionOf(areaCode: string): string | undefined {
  return regions.get(areaCode);
}

/**
 * `toll_free` for the toll-free prefixes of +1 (800, 833, 844, 855, 866, 877, 888), else `long_code`: what can be
 * told of a number from its digits.
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

// Shared strings, so that telling an area code allocates nothing.
const areaCodes: readonly string[] = Array.from({ length: 1000 }, (_, number) => String(number).padStart(3, "0"));

const regions = new Map<string, string>();
for (const [region, served] of Object.entries(areaCodesByRegion)) {
  for (const areaCode of served.split(" ")) {
    regions.set(areaCode, region);
  }
}

// A tree of digits, grown from the calling code on: node n goes on with digit d at branches[n * 10 + d], 0 is the root
// and means "no further". The last country met on the way is the number's.
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
