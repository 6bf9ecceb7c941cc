"""Calls RPCs with grpcio: one JSON request a line on standard input, one JSON outcome a line on standard output."""

import importlib
import json
import sys

folder, address, key = sys.argv[1:]
sys.path.insert(0, folder)

import grpc
from google.protobuf import json_format
from google.rpc import error_details_pb2, status_pb2

channel = grpc.insecure_channel(address)

for line in sys.stdin:
    asked = json.loads(line)
    messages = importlib.import_module(asked["module"] + "_pb2")
    stub = getattr(importlib.import_module(asked["module"] + "_pb2_grpc"), asked["service"] + "Stub")(channel)
    request = json_format.ParseDict(asked["request"], getattr(messages, asked["input"])())
    try:
        answer = getattr(stub, asked["method"])(request, metadata=[("authorization", "Bearer " + key)], timeout=20)
        outcome = {"answer": json_format.MessageToDict(answer, preserving_proto_field_name=True)}
    except grpc.RpcError as error:
        details = dict(error.trailing_metadata()).get("grpc-status-details-bin", b"")
        info = error_details_pb2.ErrorInfo()
        for each in status_pb2.Status.FromString(details).details:
            each.Unpack(info)
        told = {"reason": info.reason, "metadata": dict(info.metadata)}
        outcome = {"code": error.code().value[0], "message": error.details(), "info": told}
    print(json.dumps(outcome), flush=True)
