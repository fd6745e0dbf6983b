/**
 * An error as a plain record. Its code is that of an `error` frame, the name of a close code, or
 * one of `CLIENT_CODES`.
 */
export interface Failure {
  readonly code: string;
  readonly message: string;
}

/**
 * Codes of the client itself. All others come from the server; docs/errors.md lists them.
 */
export type ClientCode =
  | 'argument_invalid'
  | 'channel_name_invalid'
  | 'channel_open'
  | 'closed'
  | 'commit_invalid'
  | 'connect_failed'
  | 'connection_lost'
  | 'connection_silent'
  | 'protocol_violation'
  | 'token_callback_failed'
  | 'token_invalid'
  | 'token_refused'
  | 'url_invalid'
  | 'websocket_missing'
  | 'websocket_refused';

/** An error of the client: `code` is stable, `message` says what happened and what to do. */
export class SnoClientError extends Error {
  override readonly name = 'SnoClientError';
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

/**
 * Whether a value is a SnoClientError. A program may load the client as CommonJS and the hooks as a
 * module, and then has the class twice.
 */
export function isSnoClientError(value: unknown): value is SnoClientError {
  return value instanceof Error && value.name === 'SnoClientError';
}

/** Creates an error of the client itself; the compiler checks the code. */
export function failure(code: ClientCode, message: string): Failure {
  return { code, message };
}

/** Maximum length of a text that a frame may hold: with any characters it fits a server's limit. */
const TEXT_LENGTH_MAX = 16_384;

/**
 * Throws `argument_invalid` if a value of an untyped program is not a text. The server closes the
 * whole connection for a frame with such a value.
 */
export function checkText(name: string, value: unknown): void {
  if (typeof value === 'string' && value.length <= TEXT_LENGTH_MAX) return;
  const shown = String(value).slice(0, 40);
  throw new SnoClientError('argument_invalid', `${name} must be a text of at most 16384 characters, not ${shown}.`);
}

export function toError(from: Failure): SnoClientError {
  return new SnoClientError(from.code, from.message);
}
