/**
 * The paths that an update takes from its input: those of the mask; those of `all` and `populated`
 * for the mask `*`; the `populated` ones for an empty or absent mask.
 */
export function pathsOfUpdate(
  mask: { readonly paths: readonly string[] } | undefined,
  populated: readonly string[],
  all: readonly string[],
): readonly string[] {
  if (mask === undefined || mask.paths.length === 0) return populated;
  // Each path once: a mask may repeat a path ten thousand times, and each costs a full check.
  return [...new Set(mask.paths.includes("*") ? [...all, ...populated] : mask.paths)];
}

/** The record after an update, or the same object as before when only `updatedAt` would change. */
export function unlessSame<Value extends { readonly updatedAt: number }>(before: Value, after: Value): Value {
  const content = (value: Value) => JSON.stringify({ ...value, updatedAt: 0 });
  return content(before) === content(after) ? before : after;
}
