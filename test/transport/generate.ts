import { type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import fc from "fast-check";
import type { Json, JsonObject } from "./contract.ts";

/** Values that exist in the server under test, by the name of the field that may hold them. */
export type Known = { readonly [field: string]: readonly string[] };

const LONG = "x".repeat(15_000);
const SPLIT = "\ud800";

/** Strings that break things, beside valid ones. */
const NASTY_TEXTS = [
  ...[
    "",
    " ",
    "0",
    "null",
    "true",
    "-1",
    "NaN",
    "\0",
    "a\0b",
    SPLIT,
    "\udfff",
    `a${SPLIT}b`,
    "\uffff",
    "\ufeff",
    "\u202e",
  ],
  ...[
    "😀",
    "é",
    "ｆｕｌｌ",
    "__proto__",
    "constructor",
    "toString",
    "../../etc",
    "%00",
    "%",
    "'; DROP TABLE messages; --",
  ],
  ...[
    "+1",
    "+",
    "1",
    "+12125550100x",
    "+１２１２５５５０１００",
    "+99999999999999999",
    "https://example.com/hook",
    "http://[",
    "US",
  ],
  ...["*", "A2P", "x".repeat(255), "x".repeat(256), "x".repeat(2_001), "é".repeat(1_700), LONG],
];
const NASTY_NUMBERS = [
  ...[
    0,
    -0,
    1,
    -1,
    0.5,
    5,
    20,
    250,
    251,
    1_000,
    1_001,
    0.001,
    0.0009,
    10_000.5,
    36_000,
    36_001,
    2 ** 31 - 1,
    -(2 ** 31),
  ],
  ...[2 ** 31, 2 ** 53, 1e308, -1e308, 5e-324, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY],
];

/** Any request of a type in protobuf's bytes: valid, nearly valid, and broken. */
export function wireOf(desc: DescMessage, known: Known): fc.Arbitrary<Uint8Array> {
  const whole = messageBytes(desc, known, 3);
  return fc.oneof(
    { weight: 12, arbitrary: whole },
    { weight: 1, arbitrary: fc.tuple(whole, whole).map(([a, b]) => Buffer.concat([a, b])) },
    { weight: 1, arbitrary: fc.tuple(whole, fc.nat(200)).map(([bytes, cut]) => bytes.subarray(0, -1 - cut)) },
    {
      weight: 1,
      arbitrary: fc.tuple(whole, fc.nat(), fc.nat(255)).map(([bytes, at, value]) => {
        const changed = Uint8Array.from(bytes);
        if (changed.length > 0) changed[at % changed.length] = value;
        return changed;
      }),
    },
    { weight: 1, arbitrary: fc.uint8Array({ maxLength: 200 }) },
    // Nested groups, which no client writes and every parser must skip.
    { weight: 1, arbitrary: fc.integer({ min: 1, max: 30_000 }).map((depth) => new Uint8Array(depth).fill(0x7b)) },
  );
}

function messageBytes(desc: DescMessage, known: Known, depth: number): fc.Arbitrary<Uint8Array> {
  const parts = desc.fields.map((field) => fieldBytes(field, known, depth));
  const unknown = fc
    .tuple(fc.integer({ min: 1, max: 0x1fffffff }), strangeValue())
    .map(([number, write]) => written((writer) => write(writer, number)));
  const some = parts.map((part) => fc.oneof({ weight: 3, arbitrary: part }, { weight: 2, arbitrary: NOTHING }));
  return fc
    .tuple(
      fc.tuple(...some),
      fc.oneof({ weight: 5, arbitrary: NOTHING }, { weight: 1, arbitrary: unknown }),
      fc.boolean(),
    )
    .map(([fields, extra, isReversed]) => Buffer.concat([...(isReversed ? fields.toReversed() : fields), extra]));
}

const NOTHING = fc.constant(new Uint8Array());

type Write = (writer: BinaryWriter, number: number) => void;

function fieldBytes(field: DescField, known: Known, depth: number): fc.Arbitrary<Uint8Array> {
  const right: fc.Arbitrary<Write> = rightValue(field, known, depth);
  const one = fc.oneof({ weight: 9, arbitrary: right }, { weight: 1, arbitrary: strangeValue() });
  const times = field.fieldKind === "list" ? { maxLength: 4 } : { minLength: 1, maxLength: 1 };
  const many = fc.oneof(
    { weight: 9, arbitrary: fc.array(one, times) },
    { weight: 1, arbitrary: fc.array(one, { maxLength: 3 }) },
  );
  return many.map((writes) =>
    written((writer) => {
      for (const write of writes) write(writer, field.number);
    }),
  );
}

function rightValue(field: DescField, known: Known, depth: number): fc.Arbitrary<Write> {
  if (field.message !== undefined) {
    const bytes =
      field.message.typeName === "google.protobuf.Timestamp"
        ? timestampBytes()
        : depth === 0
          ? NOTHING
          : messageBytes(field.message, known, depth - 1);
    return bytes.map((inner) => (writer, number) => writer.tag(number, WireType.LengthDelimited).bytes(inner));
  }
  if (field.enum !== undefined) {
    const values = field.enum.values.map((value) => value.number);
    return fc
      .oneof(fc.constantFrom(...values), fc.constantFrom(-1, 99, 2 ** 31 - 1, -(2 ** 31)))
      .map((value) => (writer, number) => writer.tag(number, WireType.Varint).int32(value));
  }
  switch (field.scalar) {
    case ScalarType.BOOL:
      return fc.boolean().map((value) => (writer, number) => writer.tag(number, WireType.Varint).bool(value));
    case ScalarType.DOUBLE:
      return numbers().map((value) => (writer, number) => writer.tag(number, WireType.Bit64).double(value));
    case ScalarType.INT32:
      return fc
        .oneof(fc.constantFrom(0, 1, -1, 20, 250, 251, 60, 36_000, 2 ** 31 - 1, -(2 ** 31)), fc.integer())
        .map((value) => (writer, number) => writer.tag(number, WireType.Varint).int32(value));
    case ScalarType.UINT64:
      return fc
        .bigInt({ min: 0n, max: 2n ** 64n - 1n })
        .map((value) => (writer, number) => writer.tag(number, WireType.Varint).uint64(value));
    default:
      return fc
        .oneof(
          { weight: 12, arbitrary: texts(field, known).map((text) => Buffer.from(text, "utf8")) },
          // Bytes that are not UTF-8: half a surrogate pair, an overlong slash, a lone
          // continuation.
          { weight: 1, arbitrary: fc.constantFrom(...["eda080", "c0af", "80", "ff", "f4908080"].map(hex)) },
        )
        .map((bytes) => (writer, number) => writer.tag(number, WireType.LengthDelimited).bytes(bytes));
  }
}

function hex(text: string): Buffer {
  return Buffer.from(text, "hex");
}

/** A value of any wire type, whatever the field's type. */
function strangeValue(): fc.Arbitrary<Write> {
  return fc.oneof(
    fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map(
      (value): Write =>
        (writer, number) =>
          writer.tag(number, WireType.Varint).uint64(value),
    ),
    numbers().map(
      (value): Write =>
        (writer, number) =>
          writer.tag(number, WireType.Bit64).double(value),
    ),
    fc.nat().map(
      (value): Write =>
        (writer, number) =>
          writer.tag(number, WireType.Bit32).fixed32(value),
    ),
    fc.uint8Array({ maxLength: 30 }).map(
      (value): Write =>
        (writer, number) =>
          writer.tag(number, WireType.LengthDelimited).bytes(value),
    ),
  );
}

function timestampBytes(): fc.Arbitrary<Uint8Array> {
  const seconds = fc.oneof(
    fc.constantFrom(
      0n,
      -1n,
      1_900_000_000n,
      253_402_300_799n,
      253_402_300_800n,
      -62_135_596_801n,
      2n ** 63n - 1n,
      -(2n ** 63n),
    ),
    fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  );
  const nanos = fc.constantFrom(0, 1, 999_999_999, -1, 2 ** 31 - 1);
  return fc
    .tuple(seconds, nanos)
    .map(([whole, rest]) =>
      written((writer) => writer.tag(1, WireType.Varint).int64(whole).tag(2, WireType.Varint).int32(rest)),
    );
}

function written(write: (writer: BinaryWriter) => void): Uint8Array {
  const writer = new BinaryWriter();
  write(writer);
  return writer.finish();
}

function numbers(): fc.Arbitrary<number> {
  return fc.oneof(fc.constantFrom(...NASTY_NUMBERS), fc.double());
}

function texts(field: DescField, known: Known): fc.Arbitrary<string> {
  const fitting = known[field.name] ?? [];
  return fc.oneof(
    ...(fitting.length === 0 ? [] : [{ weight: 8, arbitrary: fc.constantFrom(...fitting) }]),
    { weight: 3, arbitrary: fc.constantFrom(...NASTY_TEXTS) },
    { weight: 1, arbitrary: fc.string({ unit: "binary", maxLength: 40 }) },
  );
}

/**
 * Any request of a type as JSON with the contract's field names: valid, nearly valid, and of other
 * types.
 */
export function jsonOf(desc: DescMessage, known: Known): fc.Arbitrary<JsonObject> {
  return jsonMessage(desc, known, 3) as fc.Arbitrary<JsonObject>;
}

function jsonMessage(desc: DescMessage, known: Known, depth: number): fc.Arbitrary<Json> {
  const fields = Object.fromEntries(
    desc.fields.map((field) => [
      field.name,
      fc.oneof({ weight: 9, arbitrary: jsonValue(field, known, depth) }, { weight: 1, arbitrary: strangeJson() }),
    ]),
  );
  const record = fc.record(fields, { requiredKeys: [] }) as fc.Arbitrary<JsonObject>;
  return fc.oneof(
    { weight: 8, arbitrary: record },
    {
      weight: 1,
      arbitrary: fc
        .tuple(record, fc.string({ unit: "binary", maxLength: 20 }), strangeJson())
        .map(([object, key, value]) => {
          // Through JSON a key may even be `__proto__`.
          return JSON.parse(
            `{${JSON.stringify(key)}:${JSON.stringify(value)},${JSON.stringify(object).slice(1)}`.replace(/,\}$/, "}"),
          );
        }),
    },
  );
}

function jsonValue(field: DescField, known: Known, depth: number): fc.Arbitrary<Json> {
  const one = jsonElement(field, known, depth);
  return field.fieldKind === "list" ? fc.array(one, { maxLength: 4 }) : one;
}

function jsonElement(field: DescField, known: Known, depth: number): fc.Arbitrary<Json> {
  if (field.message?.typeName === "google.protobuf.Timestamp") {
    return fc.constantFrom(
      ...["2030-01-31T18:00:00Z", "2030-13-31T18:00:00Z", "9999-12-31T23:59:59.999Z", "0001-01-01T00:00:00Z"],
      ...["2030-01-31T18:00:00+14:00", "10000-01-01T00:00:00Z", "yesterday", ""],
    );
  }
  if (field.message?.typeName === "google.protobuf.FieldMask") return fc.constantFrom("name", "", "x.y", "__proto__");
  if (field.message !== undefined) {
    return depth === 0 ? fc.constant({}) : jsonMessage(field.message, known, depth - 1);
  }
  if (field.enum !== undefined) {
    const names = field.enum.values.map((value) => value.name);
    const spelled = names.map((name) => name.slice(field.enum?.sharedPrefix?.length ?? 0).toLowerCase());
    return fc.oneof(fc.constantFrom(...names, ...spelled, "SMS", "nothing", ""), fc.constantFrom(0, 1, 99, -1));
  }
  switch (field.scalar) {
    case ScalarType.BOOL:
      return fc.boolean();
    case ScalarType.DOUBLE:
    case ScalarType.INT32:
      return numbers();
    case ScalarType.UINT64:
      return fc.oneof(numbers(), fc.constantFrom("0", "1", "18446744073709551615", "99999999999999999999", "-1"));
    default:
      return texts(field, known);
  }
}

function strangeJson(): fc.Arbitrary<Json> {
  return fc.oneof(
    fc.constantFrom<Json>(null, true, false, [], {}, [null], [[]], { "": "" }, "", [{}]),
    numbers(),
    fc.constantFrom(...NASTY_TEXTS),
    fc.integer({ min: 1, max: 1_000 }).map((depth) => JSON.parse("[".repeat(depth) + "]".repeat(depth)) as Json),
  );
}
