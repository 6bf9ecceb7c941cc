import { create } from "@bufbuild/protobuf";
import { ErrorReason } from "../../gen/numberpool/v1/error_reason_pb.ts";
import type * as pb from "../../gen/numberpool/v1/page_pb.ts";
import { CursorMetaSchema, PageMetaSchema } from "../../gen/numberpool/v1/page_pb.ts";
import { failure } from "../domain/failure.ts";
import { LIMITS } from "../domain/limits.ts";
import type { PageQuery } from "../store/pages.ts";

/** The rows of a page. Throws a failure that names the invalid parameter. */
export function rowsOf(page: pb.Page | undefined): PageQuery {
  const number = page?.number ?? 1;
  if (number < 1) throw failure(ErrorReason.OUT_OF_RANGE, "number must be an integer of at least 1.", "/page/number");
  const limit = checkSize(page?.size);
  return { offset: (number - 1) * limit, limit };
}

/** The contents of each list's cursors: an id, an event's sequence number, or a recipient. */
export const CURSOR_ROWS = {
  id: /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
  sequence: /^(0|[1-9]\d{0,14})$/,
  to: /^\+[1-9]\d{1,14}$/,
} as const;

/**
 * The row after which a cursor's page begins, and the page's number of rows. Throws a failure that
 * names the parameter if the cursor is not one of this list, so that no other text reaches a store.
 */
export function rowsAfter(
  page: pb.Cursor | undefined,
  row: RegExp,
): { readonly after: string | undefined; readonly limit: number } {
  const limit = checkSize(page?.size);
  if (page?.after === undefined) return { after: undefined, limit };
  const after = Buffer.from(page.after, "base64url").toString("utf8");
  if (row.test(after) && cursorOf(after) === page.after) return { after, limit };
  throw failure(ErrorReason.INVALID_FILTER, "after must be the meta.next of an earlier page.", "/page/after");
}

/** The metadata of a page of a list by cursor; `next` is its last row, undefined at the end. */
export function toProtoCursorMeta(next: string | undefined): pb.CursorMeta {
  return create(CursorMetaSchema, next === undefined ? {} : { next: cursorOf(next) });
}

function cursorOf(row: string): string {
  return Buffer.from(row, "utf8").toString("base64url");
}

function checkSize(size: number = LIMITS.defaultPageSize): number {
  if (size >= 1 && size <= LIMITS.pageSize) return size;
  const detail = `size must be an integer from 1 to ${LIMITS.pageSize}.`;
  throw failure(ErrorReason.OUT_OF_RANGE, detail, "/page/size");
}

/** The metadata of a page of a counted list. */
export function toProtoPageMeta(rows: PageQuery, total: number): pb.PageMeta {
  return create(PageMetaSchema, {
    pageNumber: rows.offset / rows.limit + 1,
    pageSize: rows.limit,
    totalPages: Math.ceil(total / rows.limit),
    totalResults: total,
  });
}
