/**
 * Why a connection failed or broke: what the platform says, and what to check.
 */
import { ABNORMAL_CLOSURE } from './socket.ts';

export interface Attempt {
  readonly url: string;
  /** The close code. */
  readonly code: number;
  /** The page's origin; undefined outside of pages. */
  readonly origin: string | undefined;
  /** Whether the websocket had opened. */
  readonly wasOpen: boolean;
  /** What the platform says; browsers say nothing. */
  readonly detail: string;
}

/** Whether a frame is larger than this side's websocket accepts, by the texts of `ws` and Node. */
export const isTooLarge = (detail: string): boolean =>
  /max(imum)? payload|payload size|message size|too large/i.test(detail);

/** What Node says of any attempt that fails. */
const GENERIC = 'Received network error or non-101 status code';

/** What to check, by the text of the platform's error. */
const CHECKS: readonly (readonly [RegExp, string])[] = [
  [/\b403\b/, 'The server refuses it: does SNO_ALLOWED_ORIGINS include this origin?'],
  [/\b421\b/, 'The server does not serve this host name: use the name that its operator gave.'],
  [/\b(429|503)\b/, 'The server is overloaded or starting.'],
  [
    /\b(200|30[1278]|40[04]|50[024])\b|HPE_/,
    'The answer is not from Snö: is the path /v1, and does the proxy forward websockets?',
  ],
  [
    /certificate|CERT_|altnames/i,
    'This machine does not trust the certificate: in Node, set NODE_EXTRA_CA_CERTS to a file with its authority.',
  ],
  [
    /wrong version number|packet length|EPROTO|SSL routines/i,
    'The port does not speak TLS: does the service have SNO_TLS_CERT, or is the URL ws://?',
  ],
  [
    /socket hang up|ECONNRESET/,
    'The server closed the connection: is it a TLS port (wss://), or a proxy that does not forward websockets?',
  ],
  [/ECONNREFUSED/, 'No process listens there: is the service running, and is this its SNO_PORT?'],
  [/ENOTFOUND|EAI_AGAIN/, 'The host name is unknown.'],
  [
    /ETIMEDOUT|EHOSTUNREACH|ENETUNREACH/,
    'The host does not answer: is the network up, and does a firewall allow the connection?',
  ],
];

/** One or more sentences; empty if there is nothing to add. */
export function hintOf({ url, code, origin, wasOpen, detail }: Attempt): string {
  if (isTooLarge(detail))
    return `A frame is larger than this WebSocket accepts (${detail}). Raise its limit (maxPayload of ws), or make the rows smaller.`;
  if (wasOpen && detail === '' && code === ABNORMAL_CLOSURE && origin === undefined) return CUT;
  if (wasOpen) return detail && `${detail}.`;
  return `Cannot connect to ${url}${detail && `: ${plainDetail(detail)}`}. ${checkOf(detail) ?? unsaid(url, origin, detail)}`;
}

/** Node 24 says the same of a cut connection and of a frame that is too large for it. */
const CUT =
  'The platform does not say why. If it happens again at once, a frame may be larger than the WebSocket accepts (128 MiB in Node): pass the WebSocket of ws, with a larger maxPayload.';

/** What to check, by the text of the platform's error. Undefined: unknown. */
export function checkOf(detail: string): string | undefined {
  return CHECKS.find(([pattern]) => pattern.test(detail))?.[1];
}

/**
 * OpenSSL's line is `id:error:number:library:function:reason:file:line:`; the reason is what people
 * can read.
 */
export function plainDetail(detail: string): string {
  return detail.replace(/^.*error:[0-9A-F]+:[^:]*:[^:]*:([^:]*):.*$/s, '$1');
}

function unsaid(url: string, origin: string | undefined, detail: string): string {
  const secure = url.startsWith('wss:');
  const address = url.replace(/^ws/, 'http').replace(/^(\w+:\/\/[^/?]+).*/, '$1/');
  const trust = origin === undefined ? 'Node: NODE_EXTRA_CA_CERTS' : `open ${address} in a tab`;
  const checks = [
    'the service runs and can be reached there',
    ...(secure ? [`its certificate is trusted (${trust})`] : []),
    ...(origin === undefined
      ? []
      : [`its SNO_ALLOWED_ORIGINS includes ${origin}`, "the page's Content-Security-Policy (connect-src) allows it"]),
  ];
  const isSilent = detail === '' || detail === GENERIC;
  return `${isSilent ? 'The platform does not say why. ' : ''}Check that ${checks.join(', and that ')}.`;
}
