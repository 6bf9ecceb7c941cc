import { isObject, type JsonObject } from "./decode.ts";

/** `page[number]=2&filter[name][eq]=x` as nested objects; repeated keys become lists. */
export function parseQuery(query: string): JsonObject {
  const root: Record<string, unknown> = Object.create(null);
  for (const [name, value] of new URLSearchParams(query)) {
    const path = name.split("[").map((part, index) => (index === 0 ? part : part.replace(/\]$/, "")));
    if (path.length > 4) continue;
    let at = root;
    for (const part of path.slice(0, -1)) {
      // `filter[name]=x` may stand beside `filter[name][contains]=y`; the plain one is kept under an empty key.
      if (at[part] !== undefined && !isObject(at[part]))
        at[part] = Object.assign(Object.create(null), { "": at[part] });
      at[part] ??= Object.create(null);
      at = at[part] as Record<string, unknown>;
    }
    const last = path.at(-1) as string;
    const before = at[last];
    if (isObject(before)) (before as Record<string, unknown>)[""] = value;
    else at[last] = before === undefined ? value : [before, value].flat();
  }
  return root;
}
