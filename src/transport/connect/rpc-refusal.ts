import { ConnectError } from "@connectrpc/connect";
import { errorToJsonBytes } from "@connectrpc/connect/protocol-connect";
import { errorForm } from "../../domain/error-form.ts";
import type { Refusal } from "../../domain/failure.ts";
import { errorDetails } from "../error-details.ts";
import { statusBytes } from "../grpc/status.ts";

/** An answer to a call that none of the library's handlers can answer with details. */
export type RpcAnswer = {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
};

/** A refusal as an error of Connect's library. */
export function connectError(refusal: Refusal): ConnectError {
  const { rpcCode } = errorForm(refusal.reason);
  return new ConnectError(refusal.detail, rpcCode as number, undefined, errorDetails(refusal) as never);
}

/** A refusal by the protocol that a content type speaks: gRPC's status in headers alone, or else a Connect error. */
export function rpcRefusal(type: string, refusal: Refusal, status?: number): RpcAnswer {
  const { httpStatus, rpcCode } = errorForm(refusal.reason);
  if (!/^application\/grpc/.test(type)) {
    const body = errorToJsonBytes(connectError(refusal), undefined);
    const headers = { "content-type": "application/json", "content-length": String(body.length) };
    return { status: status ?? httpStatus, headers, body };
  }
  const headers = {
    "content-type": type,
    "content-length": "0",
    "grpc-status": String(rpcCode),
    "grpc-message": encodeURIComponent(refusal.detail),
    "grpc-status-details-bin": statusBytes(refusal).toString("base64"),
  };
  return { status: status ?? 200, headers, body: new Uint8Array() };
}

/** True for a path that only an RPC can have, "/numberpool.v1.PoolSendService/SendMessage". */
export function isRpcPath(path: string): boolean {
  return /^\/(\w+\.)+\w+\/\w+$/.test(path);
}
