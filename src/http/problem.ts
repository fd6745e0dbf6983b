/** Errors of plain HTTP requests, as JSON: `{"code":"not_found","message":"..."}`. */
import { STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import { ERRORS, type ErrorCode } from '../errors.ts';

export const STATUS = {
  request_malformed: 400,
  token_in_url: 400,
  parameters_invalid: 400,
  admin_request_invalid: 400,
  too_many_subscriptions: 400,
  admin_token_required: 401,
  token_invalid: 401,
  token_expired: 401,
  origin_refused: 403,
  admin_request_refused: 403,
  not_found: 404,
  method_refused: 405,
  body_refused: 413,
  admin_host_refused: 421,
  host_refused: 421,
  websocket_required: 426,
  header_too_large: 431,
  admin_failed: 500,
  admin_busy: 503,
  starting: 503,
} as const satisfies Partial<Record<ErrorCode, number>>;
export type ProblemCode = keyof typeof STATUS;

export interface Problem {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: { readonly code: string; readonly message: string };
}

const MORE_HEADERS: Readonly<Partial<Record<ProblemCode, Readonly<Record<string, string>>>>> = {
  admin_token_required: { 'www-authenticate': 'Bearer' },
  token_invalid: { 'www-authenticate': 'Bearer error="invalid_token"' },
  token_expired: { 'www-authenticate': 'Bearer error="invalid_token"' },
  method_refused: { allow: 'GET, HEAD, OPTIONS' },
  websocket_required: { upgrade: 'websocket' },
  // The rest of the body is not read.
  body_refused: { connection: 'close' },
  starting: { 'retry-after': '1' },
};

export function problem(code: ProblemCode): Problem {
  return {
    status: STATUS[code],
    headers: { ...MORE_HEADERS[code], 'cache-control': 'no-store' },
    body: { code, message: `${ERRORS[code].cause} ${ERRORS[code].hint}` },
  };
}

/** Answers without a response object (an upgrade, bytes that are not a request), and closes. */
export function answerRaw(socket: Duplex, code: ProblemCode, headers: Readonly<Record<string, string>>): void {
  const { status, headers: more, body } = problem(code);
  const text = JSON.stringify(body);
  const lines = Object.entries({
    ...headers,
    ...more,
    connection: 'close',
    'content-type': 'application/json; charset=utf-8',
    'content-length': String(Buffer.byteLength(text)),
  }).map(([name, value]) => `${name}: ${value}`);
  socket.once('finish', () => socket.destroy());
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.join('\r\n')}\r\n\r\n${text}`);
}
