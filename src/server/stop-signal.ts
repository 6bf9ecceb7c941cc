/** A second signal within this time is the same keypress, sent on by npm. */
const SAME_KEYPRESS_MS = 2_000;

/** Resolves at the first SIGTERM or SIGINT; a second one ends the process at once. */
export function stopSignal(): Promise<void> {
  let first: number | undefined;
  return new Promise((resolve) => {
    const onSignal = () => {
      if (first === undefined) {
        first = performance.now();
        resolve();
      } else if (performance.now() - first > SAME_KEYPRESS_MS) process.exit(1);
    };
    process.on("SIGTERM", onSignal);
    process.on("SIGINT", onSignal);
  });
}
