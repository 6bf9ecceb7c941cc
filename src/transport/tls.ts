import { readFileSync } from "node:fs";

/** What a port speaks TLS with, as PEM. With a client authority only clients that show a certificate of it may connect. */
export type Tls = {
  readonly certificate: Buffer;
  readonly key: Buffer;
  readonly clientAuthority: Buffer | undefined;
};

/** Reads the files of a configuration; undefined when it names none. Throws one sentence when a file cannot be read. */
export function readTls(files: {
  readonly certificate: string | undefined;
  readonly key: string | undefined;
  readonly clientAuthority: string | undefined;
}): Tls | undefined {
  if (files.certificate === undefined || files.key === undefined) return undefined;
  const read = (path: string): Buffer => {
    try {
      return readFileSync(path);
    } catch (error) {
      throw new Error(`${path} cannot be read (${(error as NodeJS.ErrnoException).code}).`);
    }
  };
  return {
    certificate: read(files.certificate),
    key: read(files.key),
    clientAuthority: files.clientAuthority === undefined ? undefined : read(files.clientAuthority),
  };
}
