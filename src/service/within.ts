import { Failure } from "../domain/failure.ts";

/**
 * Carries out what knows only the message in a field of the request, so that its refusals name the request's own fields: "/name" of a
 * profile is "/profile/name".
 */
export async function within<Result>(field: string, carryOut: () => Promise<Result>): Promise<Result> {
  try {
    return await carryOut();
  } catch (error) {
    if (!(error instanceof Failure) || error.refusal.pointer === undefined) throw error;
    throw new Failure({ ...error.refusal, pointer: `/${field}${error.refusal.pointer}` });
  }
}
