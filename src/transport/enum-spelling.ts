import { type DescEnum, getOption, hasOption } from "@bufbuild/protobuf";
import { also_read_as, error, spelling } from "../../gen/numberpool/v1/enum_options_pb.ts";

/** The values of an enum as JSON strings. */
export type EnumSpellings = {
  /** The documented spellings, for error texts. */
  readonly names: readonly string[];
  /** Every value of the enum. */
  readonly numbers: ReadonlySet<number>;
  readonly written: ReadonlyMap<number, string>;
  readonly read: ReadonlyMap<string, number>;
  /** Values by their names in the contract, which every transport accepts too. */
  readonly byName: ReadonlyMap<string, number>;
};

/**
 * The spellings of an enum, from the contract; in the error catalogue, the names of the reasons.
 */
export function enumSpellings(desc: DescEnum): EnumSpellings {
  const known = SPELLINGS.get(desc.typeName);
  if (known !== undefined) return known;
  const written = new Map<number, string>();
  const read = new Map<string, number>();
  for (const value of desc.values) {
    const text = hasOption(value, spelling)
      ? getOption(value, spelling)
      : hasOption(value, error)
        ? value.name.slice(desc.sharedPrefix?.length ?? 0)
        : undefined;
    if (text === undefined) continue;
    written.set(value.number, text);
    for (const each of [text, ...getOption(value, also_read_as)]) read.set(each, value.number);
  }
  const numbers = new Set(desc.values.map((value) => value.number));
  const byName = new Map(desc.values.map(({ name, number }) => [name, number]));
  const spellings = { names: [...written.values()], numbers, written, read, byName };
  SPELLINGS.set(desc.typeName, spellings);
  return spellings;
}

const SPELLINGS = new Map<string, EnumSpellings>();
