import { Failure } from "../domain/failure.ts";

/**
 * Runs an action on one field of the request and prefixes the pointers of its failures with the
 * field: "/name" of a profile becomes "/profile/name".
 */
export async function within<Result>(field: string, action: () => Promise<Result>): Promise<Result> {
  try {
    return await action();
  } catch (error) {
    if (!(error instanceof Failure) || error.refusal.pointer === undefined) throw error;
    throw new Failure({ ...error.refusal, pointer: `/${field}${error.refusal.pointer}` });
  }
}
