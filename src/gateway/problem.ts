/** Errors of plain HTTP requests, as JSON: `{"code":"not_found","message":"..."}`. */
import { STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import { ERRORS } from '../errors.ts';

export const STATUS = { not_found: 404, websocket_required: 426, origin_refused: 403 } as const;
export type ProblemCode = keyof typeof STATUS;

export function problem(code: ProblemCode): { readonly code: string; readonly message: string } {
  return { code, message: `${ERRORS[code].cause} ${ERRORS[code].mend}` };
}

/** Answers a request to upgrade that gets no websocket, and closes. */
export function answerUpgrade(socket: Duplex, code: ProblemCode): void {
  const status = STATUS[code];
  const body = JSON.stringify(problem(code));
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    'connection: close',
    'content-type: application/json; charset=utf-8',
    `content-length: ${Buffer.byteLength(body)}`,
    ...(status === 426 ? ['upgrade: websocket'] : []),
  ];
  socket.once('finish', () => socket.destroy());
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`);
}
