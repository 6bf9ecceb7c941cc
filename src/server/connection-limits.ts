/** Descriptors reserved for the database, its connections, logs, and Node itself. */
const RESERVED_DESCRIPTORS = 96;
/** The limit on open descriptors where the system does not report one. */
const DEFAULT_DESCRIPTORS = 1_024;
/** The most connections that one process serves well. */
const MAX_CONNECTIONS = 10_000;

/** The most connections that each port has open at once. */
export type ConnectionLimits = { readonly http: number; readonly grpc: number; readonly metrics: number };

/**
 * The connection limits of the ports. With `configured` 0 the HTTP and the gRPC port each get 40 %
 * of the process's descriptors and the metrics port 5 %, after a reserve. So one full port leaves
 * room for the others.
 */
export function connectionLimits(configured: number, descriptors: number = openFiles()): ConnectionLimits {
  const free = Math.max(40, descriptors - RESERVED_DESCRIPTORS);
  const share = (part: number) => Math.min(MAX_CONNECTIONS, Math.max(4, Math.floor(free * part)));
  const calls = configured > 0 ? configured : share(0.4);
  return { http: calls, grpc: calls, metrics: share(0.05) };
}

/** The part of Node's diagnostic report that holds the limits of the process. */
type Report = {
  excludeNetwork: boolean;
  readonly getReport: () => { readonly userLimits?: { readonly open_files?: { readonly soft?: number | string } } };
};

/**
 * The number of descriptors that this process may open: the soft limit, which Node raises to the
 * hard one at start.
 */
function openFiles(): number {
  const report = process.report as unknown as Report;
  const wasExcluded = report.excludeNetwork;
  // Otherwise the report looks up host names.
  report.excludeNetwork = true;
  const { userLimits } = report.getReport();
  report.excludeNetwork = wasExcluded;
  const soft = userLimits?.open_files?.soft;
  return soft === "unlimited" ? Number.POSITIVE_INFINITY : typeof soft === "number" ? soft : DEFAULT_DESCRIPTORS;
}
