import {
  type Deadline,
  type Metadata,
  type MetadataValue,
  ServerInterceptingCall,
  type ServerInterceptor,
  ServerListenerBuilder,
} from "@grpc/grpc-js";
import type { Refusal } from "../../domain/failure.ts";
import type { Admit } from "../admission.ts";
import type { Caller } from "../authentication.ts";
import { createCallTimers } from "./call-timers.ts";
import { addDetails } from "./library-statuses.ts";
import { PUBLIC_PATHS } from "./public-services.ts";
import { statusOf } from "./status.ts";

/** A call, known by its headers. */
export type Arrival = {
  readonly caller: Caller;
  /** The deadline by the monotonic clock; Infinity: none. */
  readonly deadlineMs: number;
};

/** The admitted calls, by their metadata. */
export type Arrivals = WeakMap<Metadata, Arrival>;

/** The parts of an interceptor that admits calls. */
export type ArrivalParts = {
  readonly admit: Admit;
  readonly arrivals: Arrivals;
  /** Milliseconds since 1970. */
  readonly clock: () => number;
  readonly onRefused: (path: string, refusal: Refusal) => void;
};

/**
 * Admits a call by its headers and starts its timers; the body of a call that is not admitted stays
 * unread.
 */
export function admitByHeaders({ admit, arrivals, clock, onRefused }: ArrivalParts): ServerInterceptor {
  return (definition, call) =>
    new ServerInterceptingCall(call, {
      start: (next) => {
        const isPublic = PUBLIC_PATHS.test(definition.path);
        addDetails(call);
        const timers = createCallTimers(call, definition, isPublic);
        const listener = new ServerListenerBuilder();
        listener.withOnReceiveMessage((message, pass) => {
          timers.onMessage();
          pass(message);
        });
        listener.withOnReceiveHalfClose((pass) => {
          timers.onHalfClose();
          // A reset by the client looks like the end of the requests; a read detects it.
          if (definition.requestStream) call.startRead();
          pass();
        });
        listener.withOnCancel(timers.onEnd);
        listener.withOnReceiveMetadata((metadata, pass) => {
          if (isPublic) return pass(metadata);
          const admitted = admit(onlyOne(metadata.get("authorization")));
          if ("caller" in admitted) {
            arrivals.set(metadata, { caller: admitted.caller, deadlineMs: monotonic(call.getDeadline(), clock()) });
            pass(metadata);
            return;
          }
          onRefused(definition.path, admitted.refusal);
          call.sendStatus(statusOf(admitted.refusal));
        });
        next(listener.build());
      },
    });
}

/** The value of a header; undefined when there is none or more than one. */
function onlyOne(values: readonly MetadataValue[]): string | undefined {
  return values.length === 1 ? values[0]?.toString() : undefined;
}

/** A deadline in milliseconds since 1970 as monotonic milliseconds. */
function monotonic(deadline: Deadline, now: number): number {
  return performance.now() + (Number(deadline) - now);
}
