/**
 * Reads connection errors on platforms other than browsers: `ws`, Node, Deno, Bun. Bundles for
 * pages use page-errors.ts instead, by the field `browser` of package.json: browsers give no
 * details.
 */

interface Fault {
  readonly message?: unknown;
  readonly code?: unknown;
  readonly cause?: Fault;
  readonly errors?: readonly Fault[];
}

/**
 * The text of an error event: `ws`, Node and React Native give a message or an error, browsers give
 * nothing.
 */
export function detailOf(event: { readonly message?: unknown; readonly error?: Fault } | undefined): string {
  const texts = new Set<string>();
  const collect = (fault: Fault | undefined, depth: number): void => {
    if (typeof fault !== 'object' || fault === null || depth > 3) return;
    for (const text of [fault.message, fault.code]) if (typeof text === 'string' && text !== '') texts.add(text);
    collect(fault.errors?.[0], depth + 1);
    collect(fault.cause, depth + 1);
  };
  collect(event as Fault | undefined, 0);
  collect(event?.error, 0);
  return [...texts].map((text) => text.replace(/\.$/, '')).join(', ');
}

/** Whether a frame is larger than this side's websocket accepts, by the texts of `ws` and Node. */
export function isTooLarge(detail: string): boolean | undefined {
  return /max(imum)? payload|payload size|message size|too large/i.test(detail);
}

/** Node's text for every failed attempt. */
const GENERIC = 'Received network error or non-101 status code';

/** Whether the platform's text says nothing of the cause. */
export function isVague(detail: string): boolean | undefined {
  return detail === GENERIC;
}

/** Node 24 has the same text for a cut connection and for a frame that is too large for it. */
const CUT =
  'The platform does not say why. If it happens again at once, a frame may be larger than the WebSocket accepts (128 MiB in Node): pass the WebSocket of ws, with a larger maxPayload.';

/**
 * The cause of a broken connection, if more is known than the platform reports. `isCut`: the
 * connection ended without a close frame and without an error, and not in a page.
 */
export function breakOf(detail: string, isCut: boolean): string | undefined {
  if (isTooLarge(detail) === true)
    return `A frame is larger than this WebSocket accepts (${detail}). Raise its limit (maxPayload of ws), or make the rows smaller.`;
  return isCut ? CUT : undefined;
}

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

/** What to check, by the text of the platform's error. Undefined: unknown. */
export function checkOf(detail: string): string | undefined {
  return CHECKS.find(([pattern]) => pattern.test(detail))?.[1];
}

/** How to trust a certificate, if not as pages do. */
export function trustOf(origin: string | undefined): string | undefined {
  return origin === undefined ? 'Node: NODE_EXTRA_CA_CERTS' : undefined;
}

/** How to pass a WebSocket where the platform has none. */
export function socketAdvice(): string | undefined {
  return " (Node has one from version 22): pass one, as in connect(url, { WebSocket: (await import('ws')).WebSocket }).";
}

/**
 * OpenSSL's line is `id:error:number:library:function:reason:file:line:`; the reason is what people
 * can read.
 */
export function plainDetail(detail: string): string {
  return detail.replace(/^.*error:[0-9A-F]+:[^:]*:[^:]*:([^:]*):.*$/s, '$1');
}
