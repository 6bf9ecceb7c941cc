import { ConnectError } from "@connectrpc/connect";
import { errorToJsonBytes } from "@connectrpc/connect/protocol-connect";
import { errorForm } from "../../domain/error-form.ts";
import type { Refusal } from "../../domain/failure.ts";
import { errorDetails } from "../error-details.ts";
import { statusBytes } from "../grpc/status.ts";

/** A response to a call that none of Connect's handlers can answer with details. */
export type RpcResponse = {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
};

/** A refusal as a ConnectError. */
export function connectError(refusal: Refusal): ConnectError {
  const { rpcCode } = errorForm(refusal.reason);
  return new ConnectError(refusal.detail, rpcCode as number, undefined, errorDetails(refusal) as never);
}

/**
 * A refusal in the protocol of a content type: a gRPC status in headers alone, or a Connect error.
 */
export function rpcRefusal(type: string, refusal: Refusal, status?: number): RpcResponse {
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

/** True for a path in the form of an RPC, "/numberpool.v1.PoolSendService/SendMessage". */
export function isRpcPath(path: string): boolean {
  return /^\/(\w+\.)+\w+\/\w+$/.test(path);
}
