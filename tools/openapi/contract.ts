import {
  createRegistry,
  type DescEnum,
  type DescEnumValue,
  type DescExtension,
  type DescField,
  type DescFile,
  type DescMethod,
  type DescService,
  getOption,
  hasOption,
} from "@bufbuild/protobuf";
import { getComments } from "@bufbuild/protoplugin";
import type { HttpRule } from "../../gen/google/api/http_pb.ts";
import type { ErrorForm } from "../../gen/numberpool/v1/enum_options_pb.ts";

/** A part of the contract that can have a comment. */
export type Commented = Parameters<typeof getComments>[0];

/** An enum in JSON: the spelling of each value, and its accepted aliases. */
export type Spelling = { readonly value: DescEnumValue; readonly text: string; readonly alsoReadAs: readonly string[] };

/** An entry of the error catalogue. */
export type Reason = { readonly name: string; readonly form: ErrorForm; readonly comment: string };

/** The contract as the JSON transport reads it. */
export type Contract = {
  /** By the names of their files. */
  readonly services: readonly DescService[];
  /** The JSON routes of a method; empty for a stream. */
  readonly routes: (method: DescMethod) => readonly HttpRule[];
  /** The required scope of a key, in its documented spelling. */
  readonly scope: (method: DescMethod) => string;
  readonly acceptsMessages: (method: DescMethod) => boolean;
  readonly spellings: (desc: DescEnum) => readonly Spelling[];
  readonly catalogue: DescEnum;
  /** The refusals of the JSON transport, in the order of the catalogue. */
  readonly reasons: readonly Reason[];
};

/**
 * Reads the contract from the descriptors. The annotations come from the descriptors too, because
 * `gen` does not exist while it is being rewritten.
 */
export function readContract(files: readonly DescFile[], allFiles: readonly DescFile[]): Contract {
  const registry = createRegistry(...allFiles);
  const option = (name: string): DescExtension => {
    const found = registry.getExtension(name);
    if (found === undefined) throw new Error(`The contract does not define the option ${name}.`);
    return found;
  };
  const http = option("google.api.http");
  const scope = option("numberpool.v1.scope");
  const acceptsMessages = option("numberpool.v1.accepts_messages");
  const spelling = option("numberpool.v1.spelling");
  const alsoReadAs = option("numberpool.v1.also_read_as");
  const error = option("numberpool.v1.error");
  const catalogue = registry.getEnum("numberpool.v1.ErrorReason");
  const scopes = registry.getEnum("numberpool.v1.Scope");
  if (catalogue === undefined || scopes === undefined) throw new Error("The contract lacks ErrorReason or Scope.");

  const spellings = (desc: DescEnum): Spelling[] =>
    desc.values.flatMap((value) => {
      const also = getOption(value, alsoReadAs) as string[];
      if (hasOption(value, spelling)) return [{ value, text: getOption(value, spelling) as string, alsoReadAs: also }];
      return hasOption(value, error) ? [{ value, text: reasonName(value), alsoReadAs: also }] : [];
    });

  return {
    services: [...files].sort((a, b) => (a.name < b.name ? -1 : 1)).flatMap((file) => file.services),
    routes: (method) => {
      if (method.methodKind !== "unary" || !hasOption(method, http)) return [];
      const rule = getOption(method, http) as HttpRule;
      return [rule, ...rule.additionalBindings];
    },
    scope: (method) => {
      const number = getOption(method, scope) as number;
      const found = spellings(scopes).find(({ value }) => value.number === number);
      if (found === undefined) throw new Error(`${method} has no scope.`);
      return found.text;
    },
    acceptsMessages: (method) => getOption(method, acceptsMessages) as boolean,
    spellings,
    catalogue,
    reasons: catalogue.values
      .filter((value) => hasOption(value, error))
      .map((value) => ({
        name: reasonName(value),
        form: getOption(value, error) as ErrorForm,
        comment: commentOf(value),
      }))
      .filter(({ form, comment }) => form.httpStatus > 0 && !comment.endsWith("RPC transports only.")),
  };
}

/**
 * The comment of a part of the contract, its lines joined to paragraphs; throws when there is none.
 */
export function commentOf(desc: Commented): string {
  const paragraphs = (getComments(desc).leading ?? "")
    .split(/\n\s*\n/)
    .map((paragraph) => paragraph.trim().replaceAll(/\s*\n\s*/g, " "))
    .filter((paragraph) => paragraph !== "");
  if (paragraphs.length === 0) throw new Error(`${desc} has no comment.`);
  return paragraphs.join("\n\n");
}

/** The first sentence of a comment. */
export function firstSentence(comment: string): string {
  return /^.*?\.(?=\s|$)/s.exec(comment)?.[0] ?? comment;
}

/**
 * Whether a request must have a field: its comment begins with "Required." or "Required,", or with
 * "Required to create" when the method's name begins with that verb.
 */
export function isRequired(field: DescField, method?: DescMethod): boolean {
  const [, always, verb] = /^Required(?:([.,])| to (\w+))/.exec(commentOf(field)) ?? [];
  const begins = verb !== undefined && method?.name.toLowerCase().startsWith(verb);
  return always !== undefined || begins === true;
}

function reasonName(value: DescEnumValue): string {
  return value.name.slice(value.parent.sharedPrefix?.length ?? 0);
}
