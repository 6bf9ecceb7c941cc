/** The requests of a stream, which the server can end before its client does. */
export type StreamRequests<Request> = {
  readonly requests: AsyncIterable<Request>;
  /** Whether the server ended them. */
  readonly areCut: () => boolean;
};

/**
 * Ends a stream's requests when a signal aborts, so that the method finishes the requests it has.
 * Supports one iteration, with one pending `next` at a time.
 */
export function endedBy<Request>(signal: AbortSignal, requests: AsyncIterable<Request>): StreamRequests<Request> {
  const iterator = requests[Symbol.asyncIterator]();
  const done: IteratorResult<Request> = { done: true, value: undefined };
  let areCut = false;
  let hasEnded = false;
  let endPending: ((result: IteratorResult<Request>) => void) | undefined;
  const cut = () => {
    if (hasEnded) return;
    areCut = true;
    endPending?.(done);
  };
  if (signal.aborted) cut();
  signal.addEventListener("abort", cut, { once: true });

  const end = () => {
    hasEnded = true;
    signal.removeEventListener("abort", cut);
  };
  const next = (): Promise<IteratorResult<Request>> => {
    if (areCut || hasEnded) return Promise.resolve(done);
    // A race with the signal would keep one reaction for each request until it aborts.
    return new Promise((resolve, reject) => {
      endPending = resolve;
      iterator.next().then(
        (result) => {
          if (result.done) end();
          resolve(result);
        },
        (error: unknown) => {
          end();
          reject(error);
        },
      );
    });
  };
  const close = async (): Promise<IteratorResult<Request>> => {
    end();
    await iterator.return?.();
    return done;
  };
  return {
    requests: { [Symbol.asyncIterator]: () => ({ next, return: close }) },
    areCut: () => areCut,
  };
}
