import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { type ClientRequest, request as httpRequest, type IncomingMessage } from "node:http";
import { connect } from "node:tls";
import type { Config } from "../config/config.ts";
import type { CommandCall, Option } from "./command.ts";

/** The options of a command that calls the running server. */
export const SERVER_OPTIONS: readonly Option[] = [
  {
    name: "url",
    value: "URL",
    description: "The address of the server's JSON API, such as http://127.0.0.1:8080. Default: from http_address.",
  },
];

const ANSWER_TIMEOUT_MS = 30_000;

/**
 * Calls the JSON API of the running server with the configured key, and gives the parsed answer.
 * Throws a one-sentence error if the key or the server is missing, or the server refuses.
 */
export async function callServer(call: CommandCall, verb: string, path: string, body?: unknown): Promise<unknown> {
  const { config } = call;
  if (config.apiKey === undefined) {
    throw new Error("The running server requires an API key: set NUMBERPOOL_API_KEY to one with the scope admin.");
  }
  const base = serverUrl(config, call.values.url);
  const text = body === undefined ? undefined : JSON.stringify(body);
  const headers = {
    authorization: `Bearer ${config.apiKey}`,
    accept: "application/json",
    ...(text !== undefined && { "content-type": "application/json", "content-length": Buffer.byteLength(text) }),
  };
  const target = new URL(path, base);
  const answer = await send(config, target, verb, headers, text).catch((error: NodeJS.ErrnoException) => {
    const why = error.code ?? error.message;
    throw new Error(`No server answers at ${base.origin} (${why}); start the server, or give its address with --url.`);
  });
  if (answer.status >= 200 && answer.status < 300) return answer.body;
  const detail = (answer.body as { errors?: { detail?: string }[] } | undefined)?.errors?.[0]?.detail;
  throw new Error(`The server at ${base.origin} refused with ${answer.status}: ${detail ?? "no reason given."}`);
}

/** The server's address, from the option or else from http_address. */
function serverUrl(config: Config, option: string | undefined): URL {
  if (option !== undefined) {
    if (!URL.canParse(option) || !/^https?:$/.test(new URL(option).protocol)) {
      throw new Error(`--url must be an absolute http or https URL, not ${JSON.stringify(option)}.`);
    }
    return new URL(option);
  }
  const { host, port } = config.httpAddress;
  if (port === 0)
    throw new Error("http_address has port 0, so the server's port is unknown; give its address with --url.");
  // A wildcard address is reached over loopback.
  const reached = host === "0.0.0.0" ? "127.0.0.1" : host === "::" ? "::1" : host;
  const scheme = config.tlsCertificate === undefined ? "http" : "https";
  return new URL(`${scheme}://${reached.includes(":") ? `[${reached}]` : reached}:${port}`);
}

type Answer = { readonly status: number; readonly body: unknown };

async function send(
  config: Config,
  target: URL,
  verb: string,
  headers: Record<string, string | number>,
  text: string | undefined,
): Promise<Answer> {
  const socket = target.protocol === "https:" ? await connectSecurely(config, target) : undefined;
  return new Promise((resolve, reject) => {
    const call: ClientRequest = httpRequest(
      {
        host: target.hostname.replace(/^\[|\]$/g, ""),
        port: target.port || (socket === undefined ? 80 : 443),
        path: target.pathname + target.search,
        method: verb,
        headers: { ...headers, host: target.host },
        timeout: ANSWER_TIMEOUT_MS,
        // An agent would open a connection of its own.
        ...(socket === undefined ? { agent: false } : { createConnection: () => socket }),
      },
      (response) => readAnswer(response).then(resolve, reject),
    );
    call.on("timeout", () => call.destroy(new Error(`no answer within ${ANSWER_TIMEOUT_MS / 1000} s`)));
    call.on("error", reject);
    call.end(text);
  });
}

/**
 * Connects to a server with a trusted certificate: valid for its name, or equal to the configured
 * one, which is usually issued for other names than loopback's.
 */
function connectSecurely(config: Config, target: URL) {
  const host = target.hostname.replace(/^\[|\]$/g, "");
  const own = config.tlsCertificate === undefined ? undefined : readFileSync(config.tlsCertificate);
  return new Promise<ReturnType<typeof connect>>((resolve, reject) => {
    const socket = connect({
      host,
      port: Number(target.port || 443),
      ...(/[a-z]/i.test(host) && !host.includes(":") && { servername: host }),
      rejectUnauthorized: false,
      timeout: ANSWER_TIMEOUT_MS,
    });
    socket.on("error", reject);
    socket.on("timeout", () => socket.destroy(new Error("TLS handshake timed out")));
    socket.on("secureConnect", () => {
      const peer = socket.getPeerX509Certificate();
      const isOwn = own !== undefined && peer?.fingerprint256 === new X509Certificate(own).fingerprint256;
      if (socket.authorized || isOwn) resolve(socket);
      else socket.destroy(new Error(`its certificate is not trusted: ${socket.authorizationError}`));
    });
  });
}

async function readAnswer(response: IncomingMessage): Promise<Answer> {
  let text = "";
  for await (const chunk of response.setEncoding("utf8")) text += chunk;
  let body: unknown;
  try {
    body = text === "" ? undefined : JSON.parse(text);
  } catch {
    // Another program answers there; its status suffices.
  }
  return { status: response.statusCode ?? 0, body };
}
