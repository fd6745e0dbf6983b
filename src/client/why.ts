/** Explains why a connection failed or broke: the platform's text, and what to check. */
import { breakOf, checkOf, isVague, plainDetail, trustOf } from './platform/platform-errors.ts';
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

/** One or more sentences; empty if there is nothing to add. */
export function hintOf({ url, code, origin, wasOpen, detail }: Attempt): string {
  const isCut = wasOpen && detail === '' && code === ABNORMAL_CLOSURE && origin === undefined;
  const known = breakOf(detail, isCut);
  if (known !== undefined) return known;
  if (wasOpen) return detail && `${detail}.`;
  return `Cannot connect to ${url}${detail && `: ${plainDetail(detail)}`}. ${checkOf(detail) ?? unsaid(url, origin, detail)}`;
}

function unsaid(url: string, origin: string | undefined, detail: string): string {
  const secure = url.startsWith('wss:');
  const address = url.replace(/^ws/, 'http').replace(/^(\w+:\/\/[^/?]+).*/, '$1/');
  const trust = trustOf(origin) ?? `open ${address} in a tab`;
  const checks = [
    'the service runs and can be reached there',
    ...(secure ? [`its certificate is trusted (${trust})`] : []),
    ...(origin === undefined
      ? []
      : [`its SNO_ALLOWED_ORIGINS includes ${origin}`, "the page's Content-Security-Policy (connect-src) allows it"]),
  ];
  const isSilent = detail === '' || isVague(detail) === true;
  return `${isSilent ? 'The platform does not say why. ' : ''}Check that ${checks.join(', and that ')}.`;
}
