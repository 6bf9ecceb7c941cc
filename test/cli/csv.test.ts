import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readCsv } from "../../src/cli/csv.ts";

const recordsOf = (text: string) => [...readCsv(text)];

describe("A CSV text", () => {
  it.each<[string, string, [number, ...string[]][]]>([
    [
      "with LF",
      "a,b\n1,2\n",
      [
        [1, "a", "b"],
        [2, "1", "2"],
      ],
    ],
    [
      "with CRLF",
      "a,b\r\n1,2\r\n",
      [
        [1, "a", "b"],
        [2, "1", "2"],
      ],
    ],
    [
      "without an end of the last line",
      "a,b\r\n1,2",
      [
        [1, "a", "b"],
        [2, "1", "2"],
      ],
    ],
    [
      "with a carriage return at the very end",
      "a\r\n1\r",
      [
        [1, "a"],
        [2, "1"],
      ],
    ],
    [
      "with quotes",
      '"a","b"\n"1","2"\n',
      [
        [1, "a", "b"],
        [2, "1", "2"],
      ],
    ],
    [
      "with quotes before CRLF",
      '"a","b"\r\n1,"2"\r\n',
      [
        [1, "a", "b"],
        [2, "1", "2"],
      ],
    ],
    [
      "with commas, quotes and line breaks inside quotes",
      'a\n"1,""2""\r\n3\n"\n4\n',
      [
        [1, "a"],
        [2, '1,"2"\r\n3\n'],
        [5, "4"],
      ],
    ],
    [
      "with empty fields",
      ',\n"",""\n,,\n',
      [
        [1, "", ""],
        [2, "", ""],
        [3, "", "", ""],
      ],
    ],
    [
      "with empty lines, which are skipped",
      "\na\n\r\n\n1\n\n",
      [
        [2, "a"],
        [5, "1"],
      ],
    ],
    [
      "with spaces, which belong to the fields",
      ' a , b\n" 1 ",2 \n',
      [
        [1, " a ", " b"],
        [2, " 1 ", "2 "],
      ],
    ],
    ["of one quoted nothing", '""', [[1, ""]]],
    ["of nothing", "", []],
  ])("%s is read by RFC 4180", (_what, text, records) => {
    expect(recordsOf(text)).toEqual(records.map(([line, ...fields]) => ({ line, fields })));
  });

  it.each([
    ["text after a closing quote", 'a\n"1"2\n3\n', "has text after a closing quote"],
    ["a space after a closing quote", 'a\n"1" \n3\n', "has text after a closing quote"],
    ["a quote inside a field", 'a\n5" pipe\n3\n', "has a quote inside an unquoted field"],
    ["a quote that is never closed", 'a\n"1\n3\n', "has a quote that is never closed"],
    ["a lonely carriage return", "a\n1\r2\n3\n", "has a carriage return that is not followed by a line feed"],
    [
      "a lonely carriage return beside quotes",
      'a\n1\r2,"x"\n3\n',
      "has a carriage return that is not followed by a line feed",
    ],
  ])("with %s has one bad record, and the next line is the next record", (_what, text, problem) => {
    expect(recordsOf(text)).toEqual([
      { line: 1, fields: ["a"] },
      { line: 2, problem },
      { line: 3, fields: ["3"] },
    ]);
  });

  it("is read back as it was written, however it is quoted, with the lines where records begin", () => {
    const field = fc.string({ unit: fc.constantFrom("a", "é", "🥐", ",", '"', "\n", "\r\n", ";", " "), maxLength: 6 });
    const record = fc.array(fc.tuple(field, fc.boolean()), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(
        fc.array(record, { maxLength: 8 }),
        fc.constantFrom("\n", "\r\n"),
        fc.boolean(),
        (all, end, isEnded) => {
          const quoted = all.map((fields) =>
            fields.map(([text, mayBePlain]) =>
              // A field alone on its line that is empty and plain would be an empty line.
              mayBePlain && !/[",\r\n]/.test(text) && fields.length > 1 ? text : `"${text.replaceAll('"', '""')}"`,
            ),
          );
          const lines = quoted.map((fields) => fields.join(","));
          const text = lines.join(end) + (isEnded && lines.length > 0 ? end : "");
          let line = 1;
          const expected = all.map((fields, index) => {
            const begin = line;
            line += lines[index]?.split("\n").length ?? 0;
            return { line: begin, fields: fields.map(([value]) => value) };
          });
          expect(recordsOf(text)).toEqual(expected);
        },
      ),
    );
  });

  it("of arbitrary content is read to its end, each line at most once", () => {
    const text = fc.string({ unit: fc.constantFrom("a", ",", '"', "\n", "\r"), maxLength: 40 });
    fc.assert(
      fc.property(text, (any) => {
        const lines = recordsOf(any).map(({ line }) => line);
        expect(lines).toEqual([...new Set(lines)].sort((a, b) => a - b));
        expect(lines.at(-1) ?? 0).toBeLessThanOrEqual(any.split("\n").length);
      }),
    );
  });

  it.each([
    ["stray quotes", 'a,"b\n'],
    ["quotes and no comma", 'a"b\n'],
    ["doubled quotes", '"a""b"\n'],
  ])("of a million characters with %s takes no more than a moment", (_what, line) => {
    const text = line.repeat(1_000_000 / line.length);
    const since = performance.now();
    expect(recordsOf(text)).toHaveLength(text.split("\n").length - 1);
    expect(performance.now() - since).toBeLessThan(3_000);
  });
});
