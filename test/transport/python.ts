import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { executable } from "./program.ts";

const ROOT = join(import.meta.dirname, "../..");
const PYTHON = "/usr/bin/python3";

/** The tool that the Python tests need and this machine lacks; undefined: none. */
export function missingForPython(): string | undefined {
  for (const name of ["protoc", "grpc_python_plugin"]) if (executable(name) === undefined) return name;
  try {
    execFileSync(PYTHON, ["-c", "import grpc, google.protobuf"], { stdio: "ignore" });
    return undefined;
  } catch {
    return `${PYTHON} with grpc`;
  }
}

/** The interpreter that has grpcio. */
export const python: string = PYTHON;

/** Builds the image as `npm run image` does, into a folder; gives its path. */
export function buildImage(folder: string): string {
  const { scripts } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
  const image = join(folder, "dist/numberpool.binpb");
  mkdirSync(join(folder, "dist"), { recursive: true });
  const command = scripts.image.replaceAll("dist/numberpool.binpb", image).replace("mkdir -p dist", "true");
  execFileSync("sh", ["-c", command], { cwd: ROOT, env: withTools() });
  return image;
}

/** The environment in which this project's tools are found by their names. */
export function withTools(): NodeJS.ProcessEnv {
  return { ...process.env, PATH: `${join(ROOT, "node_modules/.bin")}:${process.env.PATH}` };
}

/** The files of an image that are not protobuf's own. */
export function filesOf(image: string): string[] {
  const { file } = fromBinary(FileDescriptorSetSchema, readFileSync(image));
  return file.map(({ name }) => name).filter((name) => !name.startsWith("google/protobuf/"));
}

/** Generates Python into a folder from nothing but an image. */
export function generatePython(image: string, folder: string): void {
  mkdirSync(folder, { recursive: true });
  // protoc finds nothing else here.
  writeFileSync(join(folder, "README"), "generated\n");
  execFileSync(
    executable("protoc") as string,
    [
      `--descriptor_set_in=${image}`,
      `--plugin=protoc-gen-grpc_python=${executable("grpc_python_plugin")}`,
      "--python_out=.",
      "--grpc_python_out=.",
      ...filesOf(image),
    ],
    { cwd: folder },
  );
}
