/**
 * What went wrong, as a plain record: an `error` frame's code and message, a close code's name, or
 * one of `CLIENT_CODES`.
 */
export interface Failure {
  readonly code: string;
  readonly message: string;
}

/**
 * Codes that the client itself gives; all others come from the server and stand in docs/errors.md.
 */
export type ClientCode =
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

/** A failure of the client's own, its code checked by the compiler. */
export function failure(code: ClientCode, message: string): Failure {
  return { code, message };
}

export function toError(from: Failure): SnoClientError {
  return new SnoClientError(from.code, from.message);
}
