import fc from "fast-check";
import examples from "libphonenumber-js/examples.mobile.json" with { type: "json" };
import { type CountryCode, getCountries, getExampleNumber, parsePhoneNumberFromString } from "libphonenumber-js/max";
import { describe, expect, it } from "vitest";
import { callingCodes } from "../../src/domain/geography/calling-codes.ts";
import { areaCodeOf, countryOf, isPossibleE164, lineTypeOf } from "../../src/domain/phone-number.ts";

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
