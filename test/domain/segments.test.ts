import fc from "fast-check";
import { SegmentedMessage } from "sms-segments-calculator";
import { describe, expect, it } from "vitest";
import { segment } from "../../src/domain/segments.ts";

const parts = (text: string, encoding: "auto" | "gsm7" | "ucs2" = "auto") => {
  const segments = segment(text, encoding);
  return "parts" in segments ? segments.parts : 0;
};

describe("GSM-7", () => {
  it("holds 160 septets in one part and 153 in each of several", () => {
    expect(segment("a".repeat(160), "auto")).toEqual({ encoding: "GSM-7", parts: 1, numChars: 160 });
    expect([161, 306, 307, 1530, 1531].map((length) => parts("a".repeat(length)))).toEqual([2, 2, 3, 10, 11]);
  });

  it("takes two septets for a character of the extension table, and never splits it", () => {
    expect(segment("€".repeat(80), "auto")).toEqual({ encoding: "GSM-7", parts: 1, numChars: 80 });
    expect(parts(`${"a".repeat(159)}€`)).toBe(2);
    expect(parts("€".repeat(153))).toBe(3); // 76 fit into a part, one septet stays empty
    expect(parts(`${"a".repeat(152)}€${"a".repeat(151)}`)).toBe(2);
    expect(parts(`${"a".repeat(152)}€${"a".repeat(152)}`)).toBe(3);
  });

  it("counts the empty text as one part", () => {
    expect(segment("", "auto")).toEqual({ encoding: "GSM-7", parts: 1, numChars: 0 });
  });

  it("has 127 characters in its alphabet and ten in its extension table", () => {
    const inOnePart = (length: number) =>
      Array.from({ length: 0x10000 }, (_, unit) => String.fromCharCode(unit)).filter(
        (character) => parts(character.repeat(length), "gsm7") === 1,
      );
    expect(inOnePart(160)).toHaveLength(127);
    expect(inOnePart(80)).toHaveLength(137);
    expect(inOnePart(161)).toHaveLength(0);
  });

  it("has the same characters as the independent calculator", () => {
    // None is above the euro sign: the test before this one counts them over all code units.
    for (let unit = 0; unit <= 0x2100; unit++) {
      const text = String.fromCharCode(unit);
      const { encodingName } = new SegmentedMessage(text);
      expect([unit, segment(text, "auto")]).toMatchObject([unit, { encoding: encodingName }]);
    }
  });

  it("names the first character that it cannot take when it is demanded", () => {
    expect(segment("caf\u00e9 {ok}", "gsm7")).toEqual({ encoding: "GSM-7", parts: 1, numChars: 9 });
    expect(segment("façade çà", "gsm7")).toEqual({ unencodable: "ç" });
    expect(segment("hi 😀 ç", "gsm7")).toEqual({ unencodable: "😀" });
    expect(segment("\u001b", "gsm7")).toEqual({ unencodable: "\u001b" });
  });
});

describe("UCS-2", () => {
  it("holds 70 code units in one part and 67 in each of several", () => {
    expect(segment("ж".repeat(70), "auto")).toEqual({ encoding: "UCS-2", parts: 1, numChars: 70 });
    expect([71, 134, 135, 670, 671].map((length) => parts("ж".repeat(length)))).toEqual([2, 2, 3, 10, 11]);
  });

  it("is used for everything when demanded", () => {
    expect(segment("a".repeat(71), "ucs2")).toEqual({ encoding: "UCS-2", parts: 2, numChars: 71 });
    expect(segment("€", "ucs2")).toEqual({ encoding: "UCS-2", parts: 1, numChars: 1 });
  });

  it("never splits a surrogate pair, which is one character", () => {
    expect(segment("😀".repeat(35), "auto")).toEqual({ encoding: "UCS-2", parts: 1, numChars: 35 });
    expect(parts("😀".repeat(67))).toBe(3); // 33 fit into a part, one code unit stays empty
    expect(parts(`${"ж".repeat(66)}😀${"ж".repeat(65)}`)).toBe(2);
    expect(parts(`${"ж".repeat(66)}😀${"ж".repeat(66)}`)).toBe(3);
  });

  it("counts a half of a pair that stands alone as a character", () => {
    expect(segment("\ud83d\ud83d\ude00\ude00", "auto")).toEqual({ encoding: "UCS-2", parts: 1, numChars: 3 });
    expect(parts(`${"ж".repeat(66)}\ud83d${"ж".repeat(67)}`)).toBe(2);
  });

  it("counts code points, not what is drawn as one", () => {
    expect(segment("👩‍👧", "auto")).toEqual({ encoding: "UCS-2", parts: 1, numChars: 3 });
    expect(segment("e\u0301\r\n", "auto")).toEqual({ encoding: "UCS-2", parts: 1, numChars: 4 });
  });
});

// What joins its neighbours into one grapheme, with a stranger of the same width that doesn't.
const joining: readonly (readonly [piece: string, alone: string])[] = [
  ["\u0301", "ж"], // combining acute
  ["\u200d", "ж"], // zero width joiner
  ["\ufe0f", "ж"], // variation selector
  ["🏽", "😀"], // skin tone
  ["🇨", "😀"], // half a flag
  ["👩\u200d👩\u200d👧", "😀ж😀ж😀"],
  ["e\u0301", "eж"],
];
const same = (...pieces: string[]) => pieces.map((piece) => [piece, piece] as const);
const gsm = same("a", "Z", " ", "@", "\n", "\r\n", "à", "Ω", "order ");
const extension = same("€", "{", "\\", "\f");
const wide = same("ж", "ç", "😀", "𝒳", "漢", "`");
const palettes = [gsm, [...gsm, ...extension], extension, [...gsm, ...wide], wide, [...gsm, ...extension, ...wide]];
const textWithStandIn = fc
  .tuple(fc.constantFrom(...palettes, [...wide, ...joining], [...gsm, ...joining]), fc.integer({ min: 0, max: 320 }))
  .chain(([palette, length]) => fc.array(fc.constantFrom(...palette), { minLength: length, maxLength: length }))
  .map((pieces) => ({
    text: pieces.map(([piece]) => piece).join(""),
    standIn: pieces.map(([, alone]) => alone).join(""),
  }));

describe("the independent calculator", () => {
  it("agrees on encoding, parts and code points", () => {
    fc.assert(
      fc.property(textWithStandIn, fc.constantFrom("auto", "ucs2"), ({ text, standIn }, encoding) => {
        // It moves a whole grapheme to the next part; the network knows none. So it is asked about one without any.
        const expected = new SegmentedMessage(standIn, encoding === "auto" ? "auto" : "UCS-2");
        expect(segment(text, encoding as "auto" | "ucs2")).toEqual({
          encoding: expected.encodingName,
          parts: expected.segmentsCount,
          numChars: expected.numberOfUnicodeScalars,
        });
      }),
      { numRuns: 300 },
    );
  });

  it("agrees on what GSM-7 cannot take", () => {
    fc.assert(
      fc.property(textWithStandIn, ({ text, standIn }) => {
        const [first] = new SegmentedMessage(standIn).getNonGsmCharacters();
        const segments = segment(text, "gsm7");
        expect("unencodable" in segments).toBe(first !== undefined);
        if ("unencodable" in segments) {
          expect(segment(text.slice(0, text.indexOf(segments.unencodable)), "gsm7")).toHaveProperty("parts");
          expect(segment(segments.unencodable, "auto")).toMatchObject({ encoding: "UCS-2", numChars: 1 });
        }
      }),
      { numRuns: 100 },
    );
  });
});
