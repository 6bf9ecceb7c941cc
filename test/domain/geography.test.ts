import { readFileSync } from "node:fs";
import { parsePhoneNumberFromString } from "libphonenumber-js/max";
import { describe, expect, it } from "vitest";
import { areaCodesByRegion } from "../../src/domain/geography/area-codes.ts";
import { callingCodes } from "../../src/domain/geography/calling-codes.ts";
import { overlaysOf } from "../../src/domain/geography/overlays.ts";
import { countryOf, regionOf } from "../../src/domain/phone-number.ts";
import { areaCodesModule, callingCodesModule, nationalPrefixesModule } from "../../tools/geography.ts";

const everyCode = Array.from({ length: 800 }, (_, number) => String(200 + number));
const assigned = Object.values(areaCodesByRegion).flatMap((areaCodes) => areaCodes.split(" "));
const committed = (name: string) =>
  readFileSync(new URL(`../../src/domain/geography/${name}`, import.meta.url), "utf8");

describe("the generated tables", () => {
  it("are what the generator writes from the installed data", () => {
    expect(committed("area-codes.ts")).toBe(areaCodesModule());
    expect(committed("calling-codes.ts")).toBe(callingCodesModule());
    expect(committed("national-prefixes.ts")).toBe(nationalPrefixesModule());
  });

  it("have every state, province and member of the plan, and no area code twice", () => {
    const regions = Object.keys(areaCodesByRegion);
    const within = (country: string) => regions.filter((region) => region.startsWith(`${country}-`)).join("/");
    expect(within("US").split("/")).toHaveLength(51);
    expect(within("CA").split("/")).toHaveLength(13);
    const members = new Set(regions.map((region) => region.slice(0, 2)));
    expect([...members].sort()).toEqual([...(callingCodes[0]?.countries ?? [])].sort());
    expect(assigned).toHaveLength(new Set(assigned).size);
    expect(assigned.length).toBeGreaterThanOrEqual(455);
  });

  it("give area codes to the countries that libphonenumber gives them to", () => {
    for (const areaCode of everyCode) {
      const country = parsePhoneNumberFromString(`+1${areaCode}2345678`)?.country;
      if (country) {
        expect([areaCode, countryOf(`+1${areaCode}2345678`)]).toEqual([areaCode, country]);
      }
    }
  });

  it("have no calling code that is the beginning of another", () => {
    const codes = callingCodes.map(({ code }) => code);
    expect(codes.filter((code) => codes.some((other) => other !== code && other.startsWith(code)))).toEqual([]);
  });
});

describe("regionOf", () => {
  it.each([
    ["212", "US-NY"],
    ["203", "US-CT"],
    ["202", "US-DC"],
    ["206", "US-WA"],
    ["713", "US-TX"],
    ["621", "US-TX"],
    ["416", "CA-ON"],
    ["905", "CA-ON"],
    ["257", "CA-BC"],
    ["273", "CA-QC"],
    ["902", "CA-NS/PE"],
    ["867", "CA-NT/NU/YT"],
    ["787", "PR"],
    ["876", "JM"],
    ["809", "DO"],
    ["555", undefined],
    ["800", undefined],
    ["600", undefined],
    ["", undefined],
  ])("%s is %s", (areaCode, region) => {
    expect(regionOf(areaCode)).toBe(region);
  });
});

describe("overlaysOf", () => {
  it.each([
    ["212", ["332", "646", "917"]],
    ["917", ["212", "332", "347", "465", "646", "718", "929"]],
    ["206", ["564"]],
    ["564", ["206", "360"]],
    ["404", ["470", "678", "943"]],
    ["780", ["368", "587", "825"]],
    ["876", ["658"]],
    ["307", []],
    ["800", []],
    ["constructor", []],
  ])("%s is overlaid by %j", (areaCode, others) => {
    expect(overlaysOf(areaCode)).toEqual(others);
  });

  it("is symmetric, without the code itself, and only of codes in the table, of one region", () => {
    for (const areaCode of everyCode) {
      for (const other of overlaysOf(areaCode)) {
        expect(other).not.toBe(areaCode);
        expect(overlaysOf(other)).toContain(areaCode);
        expect(regionOf(areaCode)).toBeDefined();
        expect([areaCode, other, regionOf(other)]).toEqual([areaCode, other, regionOf(areaCode)]);
      }
    }
  });

  it("leaves out only the area codes that serve their area alone, none of them younger than 2009", () => {
    const alone = assigned.filter((areaCode) => overlaysOf(areaCode).length === 0);
    const northern = alone.filter((areaCode) => /^(US|CA)-/.test(regionOf(areaCode) ?? "")).sort();
    const expected = [
      "207 216 218 219 225 228 229 231 239 251 252 253 254 260 262 269 276 302 307 308",
      "316 319 320 325 337 352 361 386 401 406 409 413 414 417 425 432 434 435 478 479",
      "501 502 504 505 509 515 517 520 562 563 574 575 580 585 586 603 605 606 607 612",
      "616 620 626 636 641 650 651 660 661 701 712 719 727 731 734 763 765 772 775 785",
      "802 806 807 808 810 828 830 831 856 859 863 865 867 901 906 907 908 912 913 914",
      "915 925 928 931 936 940 941 949 951 952 956 979 985 989",
    ];
    expect(northern).toEqual(expected.join(" ").split(" "));
  });
});
