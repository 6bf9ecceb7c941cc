import { type DescFile, type DescService, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import type { Server } from "@grpc/grpc-js";
import { ReflectionService } from "@grpc/reflection";
import { HealthImplementation } from "grpc-health-check";
import { file_google_rpc_error_details } from "../../../gen/google/rpc/error_details_pb.ts";
import { file_google_rpc_status } from "../../../gen/google/rpc/status_pb.ts";

/** The paths of the services without a key: health and reflection. */
export const PUBLIC_PATHS = /^\/grpc\.(health|reflection)\./;

/**
 * Adds the health of the program and of each service to the gRPC port; `stopServing` announces the
 * drain.
 */
export function addHealth(server: Server, services: readonly DescService[]): { readonly stopServing: () => void } {
  const names = ["", ...services.map((service) => service.typeName)];
  const health = new HealthImplementation(Object.fromEntries(names.map((name) => [name, "SERVING" as const])));
  health.addToServer(server);
  return {
    stopServing: () => {
      for (const name of names) health.setStatus(name, "NOT_SERVING");
    },
  };
}

/** Adds reflection of the contract, v1 and v1alpha, to the gRPC port. */
export function addReflection(server: Server, services: readonly DescService[]): void {
  const files = new Map<string, Buffer>();
  const collect = (file: DescFile) => {
    if (files.has(file.proto.name)) return;
    files.set(file.proto.name, Buffer.from(toBinary(FileDescriptorProtoSchema, file.proto)));
    file.dependencies.forEach(collect);
  };
  for (const service of services) collect(service.file);
  // Clients decode a refusal's details by reflection, and no file of the contract imports their
  // types.
  collect(file_google_rpc_status);
  collect(file_google_rpc_error_details);
  // Of a loaded package the library reads only the file descriptors.
  const contract = { format: "Protocol Buffer 3 DescriptorProto", type: {}, fileDescriptorProtos: [...files.values()] };
  new ReflectionService({ contract } as never, { services: services.map(({ typeName }) => typeName) }).addToServer(
    server,
  );
}
