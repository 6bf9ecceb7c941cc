import { readFileSync } from "node:fs";

/**
 * The TLS material of a port, as PEM. A client authority requires clients to have its certificate.
 */
export type Tls = {
  readonly certificate: Buffer;
  readonly key: Buffer;
  readonly clientAuthority: Buffer | undefined;
};

/**
 * Reads the configured files; undefined without them. Throws one sentence for an unreadable file.
 */
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
