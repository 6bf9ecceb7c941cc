import fc from "fast-check";
import examples from "libphonenumber-js/examples.mobile.json" with { type: "json" };
import { type CountryCode, getCountries, getExampleNumber, parsePhoneNumberFromString } from "libphonenumber-js/max";
import { describe, expect, it } from "vitest";
import { callingCodes } from "../../src/domain/geography/calling-codes.ts";
import { nationalPrefixes } from "../../src/domain/geography/national-prefixes.ts";
import {
  areaCodeOf,
  countryOf,
  e164Error,
  isPossibleE164,
  lineTypeOf,
  respelled,
} from "../../src/domain/phone-number.ts";

describe("isPossibleE164", () => {
  it.each([
    "+15550001234", // nobody's
    "+12125550100",
    "+18005550199",
    "+442079460000",
    "+390236618300",
    "+8613800138000",
    "+2901234", // seven digits with the calling code, the shortest there are
    "+4930123456789012".slice(0, 16), // fifteen, the longest
    "+883510000000000",
  ])("takes %s", (value) => {
    expect(isPossibleE164(value)).toBe(true);
  });

  it.each([
    "",
    "+",
    "+1",
    "15550001234",
    " +15550001234",
    "+15550001234 ",
    "+1 5550001234",
    "+1555000123",
    "+155500012345",
    "+1555000123a",
    "+155500012:4",
    "+155500012/4",
    "++5550001234",
    "+1٥٥٥٠٠٠١٢٣٤",
    "+１５５５０００１２３４",
    "+05550001234",
    "+10550001234",
    "+11550001234",
    "+13101234", // possible in Canada to libphonenumber, but no recipient
    "+2101234567", // no such calling code
    "+49301234567890123", // sixteen digits
    `+1${"5".repeat(10 + 32)}`,
    `+1${"5".repeat(100_000)}`,
  ])("refuses %j", (value) => {
    expect(isPossibleE164(value)).toBe(false);
  });

  it("refuses everything but a digit in every place, after every calling code", () => {
    const first384 = Array.from({ length: 0x180 }, (_, unit) => String.fromCharCode(unit));
    const others = first384.filter((character) => !/[0-9]/.test(character));
    for (const { code, lengths } of callingCodes) {
      const value = `+${code}${"5".repeat(lengths[0] ?? 0)}`;
      expect([value, isPossibleE164(value)]).toEqual([value, true]);
      const spoilt = Array.from(value, (_, at) =>
        others.map((other) => value.slice(0, at) + (at === 0 && other === "+" ? "" : other) + value.slice(at + 1)),
      );
      expect(spoilt.flat().filter(isPossibleE164)).toEqual([]);
    }
  });
});

describe("countryOf", () => {
  it.each([
    ["+12125550100", "US"],
    ["+14165550100", "CA"],
    ["+16005550100", "CA"],
    ["+18765550100", "JM"],
    ["+17875550100", "PR"],
    ["+18005550100", "US"],
    ["+15550001234", "US"],
    ["+442079460000", "GB"],
    ["+441481256789", "GG"],
    ["+447624301234", "IM"],
    ["+77012345678", "KZ"],
    ["+79123456789", "RU"],
    ["+39066981234", "VA"],
    ["+883510000000000", "001"],
    ["+80012345678", "001"],
    ["+210123456", undefined],
    ["", undefined],
  ])("%s is of %s", (value, country) => {
    expect(countryOf(value)).toBe(country);
  });

  it("knows the example number of every country", () => {
    for (const country of getCountries()) {
      const example = getExampleNumber(country, examples)?.number ?? "";
      // Western Sahara's numbers all fit Morocco, which comes first in libphonenumber-js too.
      const expected: CountryCode | undefined = parsePhoneNumberFromString(example)?.country;
      expect([country, isPossibleE164(example), countryOf(example)]).toEqual([country, true, expected]);
    }
  });
});

describe("respelled", () => {
  it.each([
    ["+610412555010", "+61412555010"],
    ["+4407912345678", "+447912345678"],
    ["+49030123456", "+4930123456"],
    ["+3606201234567", "+36201234567"],
    ["+785551234567890", undefined], // no number of Russia is left without the 8
    ["+78005553535", undefined], // 800 is an area code there
    ["+5401115555010", undefined], // too short without the zero and the 15 of mobiles
    ["+54011155550100", "+549115550100"],
    ["+5401115555501001", undefined],
    ["+540111555501001", "+5491155501001"], // 0 11 15: a mobile number of Buenos Aires, dialled at home
    ["+55021312345678", "+5521312345678"],
    ["+550152131234567", "+552131234567"], // 15: the code of a Brazilian carrier
    ["+37064112345", undefined],
    ["+370064112345", "+37064112345"],
    ["+37886612345", undefined],
    ["+378866123", "+3780549866123"], // San Marino's area code, left out at home
    ["+390236618300", undefined],
    ["+2250712345678", undefined],
    ["+2290195123456", undefined],
    ["+24106031234", undefined],
    ["+15550001234", undefined],
    ["+882123456789", undefined],
    ["+999012345678", undefined],
    ["+61", undefined],
    ["+", undefined],
  ])("reads in %s %s, as libphonenumber does", (value, expected) => {
    const read = parsePhoneNumberFromString(value)?.number;
    if (isPossibleE164(value)) expect(read === value ? undefined : read).toBe(expected);
    expect(respelled(value)).toBe(expected);
  });

  it("is libphonenumber's reading of every possible number, after every calling code", () => {
    const random = fc.sample(fc.infiniteStream(fc.nat(9)), { numRuns: 1, seed: 20260101 })[0] as Iterator<number>;
    const digits = (count: number) => Array.from({ length: count }, () => random.next().value).join("");
    const differing = new Set<string>();
    for (const { code, lengths } of callingCodes) {
      const prefix = nationalPrefixes.find((each) => each.code === code)?.prefix;
      const examplesOfCode = getCountries()
        .map((country) => getExampleNumber(country, examples))
        .filter((example) => example?.countryCallingCode === code)
        .map((example) => String(example?.nationalNumber));
      for (const length of lengths) {
        const nationals = examplesOfCode.flatMap((example) =>
          ["0", "8", "06", "1", "90", "015", "00"].map((dialled) => (dialled + example).slice(0, length)),
        );
        for (let round = 0; round < 40; round++) nationals.push(digits(length));
        for (const dialled of prefix === undefined
          ? []
          : ["0", "8", "80", "06", "1", "90", "03", "015", "10", "15", "00"]) {
          for (let round = 0; round < 10; round++) nationals.push((dialled + digits(length)).slice(0, length));
        }
        for (const national of nationals) {
          const value = `+${code}${national}`;
          if (!isPossibleE164(value)) continue;
          const read = parsePhoneNumberFromString(value)?.number;
          expect([value, respelled(value)]).toEqual([value, read === value ? undefined : read]);
          expect([value, e164Error(value, "to") !== undefined]).toEqual([value, read !== value]);
          if (read !== value) differing.add(code);
        }
      }
    }
    expect(differing.size).toBeGreaterThan(49);
  });
});

describe("e164Error", () => {
  it.each([
    ["+610412555010", "+61412555010"],
    ["+6100412555010", "+61412555010"],
    ["+4402079460000", "+442079460000"], // longer than any number there: refused for that alone
    ["+4900301234567890", "+49301234567890"],
  ])("names in what it says of %s the number probably meant", (value, meant) => {
    expect(e164Error(value, "to")).toBe(
      `to ${value} has a national prefix after the calling code, which E.164 omits. Send ${meant} if you mean that number.`,
    );
  });

  it.each(["+61", "+0", "", "610412555010", `+61${"0".repeat(200)}`, "+61 0412555010", "+1555000123"])(
    "guesses at nothing in %j",
    (value) => {
      expect(e164Error(value, "to")).toMatch(/^to must be a possible number in E\.164 form/);
    },
  );
});

describe("areaCodeOf and lineTypeOf", () => {
  it.each([
    ["+12125550100", "212", "long_code"],
    ["+15550001234", "555", "long_code"],
    ["+18765550100", "876", "long_code"],
    ["+18115550100", "811", "long_code"],
    ["+18225550100", "822", "long_code"],
    ["+442079460000", undefined, "long_code"],
    ["+448001111", undefined, "long_code"],
    ["+80012345678", undefined, "long_code"],
    ...["800", "833", "844", "855", "866", "877", "888"].map((code) => [`+1${code}5550100`, undefined, "toll_free"]),
  ])("%s has the area code %s and is a %s", (value, areaCode, lineType) => {
    expect([areaCodeOf(`${value}`), lineTypeOf(`${value}`)]).toEqual([areaCode, lineType]);
  });
});

// Half of the calling codes drawn are shared by several countries, half of the numbers begin as one of theirs do.
const shared = callingCodes.filter(({ countries }) => countries.length > 1);
const number = fc.oneof(fc.constantFrom(...callingCodes), fc.constantFrom(...shared)).chain((callingCode) => {
  const beginnings = Object.values(callingCode.leadingDigits ?? {}).flatMap((digits) => digits.split(" "));
  const digits = (min: number, max: number) =>
    fc.array(fc.integer({ min: 0, max: 9 }), { minLength: min, maxLength: max }).map((array) => array.join(""));
  return fc
    .record({
      beginning: fc.oneof(fc.constant(""), fc.constantFrom("", ...beginnings)),
      length: fc.oneof(fc.constantFrom(...callingCode.lengths), fc.integer({ min: 1, max: 16 })),
    })
    .chain(({ beginning, length }) => {
      const missing = Math.max(0, length - beginning.length);
      return digits(missing, missing).map((rest) => ({
        value: `+${callingCode.code}${beginning}${rest}`,
        callingCode,
      }));
    });
});

describe("libphonenumber-js", () => {
  it("agrees on what is possible and of which country", () => {
    fc.assert(
      fc.property(number, ({ value, callingCode }) => {
        const parsed = parsePhoneNumberFromString(value);
        // It takes a trunk prefix out of the number, +49 0 30 for +49 30; in E.164 there is none.
        fc.pre(parsed === undefined || parsed.number === value);
        const national = value.length - 1 - callingCode.code.length;
        const possible =
          parsed !== undefined &&
          // It goes by the country once it knows it, where Google's original goes by the main country, as we do.
          (parsed.isPossible() || callingCode.lengths.includes(national)) &&
          // It goes by what has been seen in the field, where E.164 ends at 15 digits.
          value.length <= 16 &&
          // It doesn't look at the area code, and counts Canada's seven-digit 310 numbers.
          (callingCode.code !== "1" || (national === 10 && value.charAt(2) >= "2"));
        expect([value, isPossibleE164(value)]).toEqual([value, possible]);
        if (!possible) {
          return;
        }
        const country = countryOf(value);
        if (parsed.country === undefined) {
          // It names no country where no pattern fits; we name the one whose leading digits do, or the main one.
          expect(callingCode.countries).toContain(country);
        } else if (!value.startsWith("+18001")) {
          // It has +1 800 1 in the Dominican Republic; to us all of +1 800 is toll-free and of the plan's main country.
          expect([value, country]).toEqual([value, parsed.country]);
        }
      }),
      { numRuns: 5000 },
    );
  });
});
