/** Descriptors that are left for the database, its connections, logs, and what Node itself holds open. */
const RESERVED = 96;
/** What is assumed where the system does not say how many descriptors the process may open. */
const USUAL_DESCRIPTORS = 1_024;
/** More than this no single process serves well. */
const MAX_CONNECTIONS = 10_000;

/** Connections that each port takes at once. */
export type ConnectionLimits = { readonly http: number; readonly grpc: number; readonly metrics: number };

/**
 * The caps of the ports. With `configured` 0 the HTTP and the gRPC port each get 40 % of the descriptors that the process may open,
 * less a reserve, and the metrics port 5 %, so that together they stay below the limit, and one that is full leaves the others room.
 */
export function connectionLimits(configured: number, descriptors: number = openFiles()): ConnectionLimits {
  const free = Math.max(40, descriptors - RESERVED);
  const share = (part: number) => Math.min(MAX_CONNECTIONS, Math.max(4, Math.floor(free * part)));
  const calls = configured > 0 ? configured : share(0.4);
  return { http: calls, grpc: calls, metrics: share(0.05) };
}

/** What Node's diagnostic report says of the limits of the process. */
type Report = {
  excludeNetwork: boolean;
  readonly getReport: () => { readonly userLimits?: { readonly open_files?: { readonly soft?: number | string } } };
};

/** How many descriptors this process may open: the soft limit, which Node raises to the hard one when it starts. */
function openFiles(): number {
  const report = process.report as unknown as Report;
  const wasExcluded = report.excludeNetwork;
  // Without it the report would look up names.
  report.excludeNetwork = true;
  const { userLimits } = report.getReport();
  report.excludeNetwork = wasExcluded;
  const soft = userLimits?.open_files?.soft;
  return soft === "unlimited" ? Number.POSITIVE_INFINITY : typeof soft === "number" ? soft : USUAL_DESCRIPTORS;
}
