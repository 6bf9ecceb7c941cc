import { create } from "@bufbuild/protobuf";
import { ErrorReason } from "../../gen/numberpool/v1/error_reason_pb.ts";
import { type Page, type PageMeta, PageMetaSchema } from "../../gen/numberpool/v1/page_pb.ts";
import { failure } from "../domain/failure.ts";
import { LIMITS } from "../domain/limits.ts";
import type { PageQuery } from "../store/store.ts";

/** The rows that a page asks for, or a failure that names the parameter. */
export function rowsOf(page: Page | undefined): PageQuery {
  const number = page?.number ?? 1;
  const size = page?.size ?? LIMITS.defaultPageSize;
  if (number < 1)
    throw failure(ErrorReason.OUT_OF_RANGE, "page[number] must be a whole number from 1.", "/page/number");
  if (size < 1 || size > LIMITS.pageSize) {
    throw failure(
      ErrorReason.OUT_OF_RANGE,
      `page[size] must be a whole number from 1 to ${LIMITS.pageSize}.`,
      "/page/size",
    );
  }
  return { offset: (number - 1) * size, limit: size };
}

/** Where a page stands among so many results. */
export function pageMeta(rows: PageQuery, total: number): PageMeta {
  return create(PageMetaSchema, {
    pageNumber: rows.offset / rows.limit + 1,
    pageSize: rows.limit,
    totalPages: Math.ceil(total / rows.limit),
    totalResults: total,
  });
}
