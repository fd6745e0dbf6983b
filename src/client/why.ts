/** Explains why a connection failed or broke: the platform's text, and what to check. */
import { checkOf, isTooLarge, plainDetail } from './platform/platform-errors.ts';
import { ABNORMAL_CLOSURE } from './platform/socket.ts';

export interface Attempt {
  readonly url: string;
  /** The close code. */
  readonly code: number;
  /** The page's origin; undefined outside of pages. */
  readonly origin: string | undefined;
  /** Whether the websocket had opened. */
  readonly wasOpen: boolean;
  /** The platform's text about the error. '' in browsers, which give none. */
  readonly detail: string;
}

/** Node's text for any failed attempt. */
const GENERIC = 'Received network error or non-101 status code';

/** One or more sentences; empty if there is nothing to add. */
export function hintOf({ url, code, origin, wasOpen, detail }: Attempt): string {
  if (isTooLarge(detail))
    return `A frame is larger than this WebSocket accepts (${detail}). Raise its limit (maxPayload of ws), or make the rows smaller.`;
  if (wasOpen && detail === '' && code === ABNORMAL_CLOSURE && origin === undefined) return CUT;
  if (wasOpen) return detail && `${detail}.`;
  return `Cannot connect to ${url}${detail && `: ${plainDetail(detail)}`}. ${checkOf(detail) ?? unsaid(url, origin, detail)}`;
}

/** Node 24 has the same text for a cut connection and for a frame that is too large for it. */
const CUT =
  'The platform does not say why. If it happens again at once, a frame may be larger than the WebSocket accepts (128 MiB in Node): pass the WebSocket of ws, with a larger maxPayload.';

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
