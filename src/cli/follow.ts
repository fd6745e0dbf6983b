/**
 * Follows one channel over the wire and hands on its frames as they came, one a line. Reconnects by
 * itself and resumes after the last whole commit, like the client library; unlike that, it keeps
 * nothing.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { ConnectionOptions } from 'node:tls';
import { type ClientOptions, type RawData, WebSocket } from 'ws';
import { BACKOFF, delayMs } from '../client/backoff.ts';
import { GONE } from '../client/state/endings.ts';
import { checkOf, plainDetail } from '../client/why.ts';
import { ERRORS, type ErrorCode, SnoError } from '../errors.ts';
import { CLOSE, type ClientFrame, type ErrorFrame, HEARTBEAT_SECONDS, type ServerFrame } from '../protocol.ts';

export interface FollowOptions {
  readonly url: string;
  /** What a TLS connection trusts. */
  readonly tls: Pick<ConnectionOptions, 'ca' | 'rejectUnauthorized' | 'checkServerIdentity'>;
  readonly channel: string;
  readonly snapshot: boolean;
  readonly since: string | undefined;
  /** Called for each connection, since tokens expire. */
  token(): Promise<string | undefined>;
  /** Takes one frame, on one line; resolves when it can take the next. */
  write(line: string): Promise<void>;
  warn(message: string): void;
}

/**
 * How long a connection may be silent before it counts as dead, in ms: a heartbeat is due every
 * HEARTBEAT_SECONDS.
 */
const SILENCE_MS_MAX = HEARTBEAT_SECONDS * 2_500;

/** Follows until `signal` aborts. Rejects with a SnoError if retrying cannot help. */
export async function follow(options: FollowOptions, signal: AbortSignal): Promise<void> {
  const progress: Progress = { since: options.since, joins: 0 };
  let attempts = 0;
  while (!signal.aborted) {
    const joinsBefore = progress.joins;
    const ended = await new Connection(options, progress, signal).run(await options.token());
    if (signal.aborted) return;
    if (!ended.again || (progress.joins === 0 && ended.unreachable)) throw ended.error;
    attempts = progress.joins > joinsBefore ? 0 : attempts + 1;
    options.warn(`${ended.error.message}; trying again`);
    await delay(delayMs(BACKOFF, attempts, ended.slow, Math.random), undefined, { signal }).catch(() => {});
  }
}

/** What survives a connection. */
interface Progress {
  /** The position to resume after. Undefined: none yet, or void. */
  since: string | undefined;
  /** Number of times the channel was joined. */
  joins: number;
}

/** How a connection ended. */
interface Ended {
  /** Whether another connection may do better. */
  readonly again: boolean;
  /** No server was reached. */
  readonly unreachable: boolean;
  /** The server is overloaded. */
  readonly slow: boolean;
  readonly error: SnoError;
}

class Connection {
  readonly #options: FollowOptions;
  readonly #progress: Progress;
  readonly #signal: AbortSignal;
  #socket: WebSocket | undefined;
  #joined = false;
  /** A commit has come in part, its last part has not. */
  #isOpen = false;
  #opened = false;
  #ended: Ended | undefined;
  #silence: NodeJS.Timeout | undefined;
  #writing: Promise<void> = Promise.resolve();

  constructor(options: FollowOptions, progress: Progress, signal: AbortSignal) {
    this.#options = options;
    this.#progress = progress;
    this.#signal = signal;
  }

  run(token: string | undefined): Promise<Ended> {
    const { url, tls } = this.#options;
    // No limit on what the server sends: no row is too large.
    const limits = { maxPayload: 0, perMessageDeflate: false, handshakeTimeout: 10_000 };
    // The cast: ws hands these to tls.connect, but its types have checkServerIdentity wrong.
    const socket = new WebSocket(url, { ...limits, ...tls } as unknown as ClientOptions);
    this.#socket = socket;
    const abort = () => socket.close(1000);
    this.#signal.addEventListener('abort', abort, { once: true });
    this.#expectSomething();
    socket.on('open', () => {
      this.#opened = true;
      this.#send({ type: 'hello', ...(token === undefined ? {} : { token }) });
      this.#subscribe();
    });
    socket.on('message', (data) => this.#receive(data));
    socket.on('error', (error) => this.#end(true, unreachable(url, error)));
    return new Promise((resolve) => {
      socket.on('close', (code, reason) => {
        this.#signal.removeEventListener('abort', abort);
        clearTimeout(this.#silence);
        this.#end(
          mayComeBack(code),
          new SnoError(
            'server_unreachable',
            `the connection to ${url} was closed: ${code} ${reason.toString()}`.trimEnd(),
          ),
        );
        void this.#writing.then(() => resolve(this.#ended as Ended));
      });
    });
  }

  #receive(data: RawData): void {
    this.#expectSomething();
    const text = data.toString();
    const frame = JSON.parse(text) as ServerFrame;
    switch (frame.type) {
      case 'subscribed':
        this.#joined = true;
        this.#progress.joins += 1;
        this.#advance(frame.position);
        break;
      case 'changes':
        this.#isOpen = frame.last === false;
        this.#advance(frame.position);
        break;
      case 'message':
        this.#advance(frame.position);
        break;
      case 'heartbeat':
        this.#advance(frame.position);
        return;
      case 'reset':
        this.#joined = false;
        this.#isOpen = false;
        this.#progress.since = undefined;
        break;
      case 'unsubscribed': {
        const isGone = frame.code === 'channel_dropped' || frame.undeclared === true;
        // If the view comes back, it may have other rows.
        if (isGone) this.#progress.since = undefined;
        // An expired token may be followed by a fresh one, if it is signed here.
        this.#end(
          isGone || frame.code === 'token_expired',
          new SnoError(
            frame.code === 'client' ? 'not_subscribed' : UNSUBSCRIBED[frame.code],
            `unsubscribed: ${frame.code}`,
          ),
        );
        break;
      }
      case 'error':
        this.#end(this.#mayPass(frame.code), clientError(frame));
        return;
      case 'snapshot':
        break;
      default:
        return;
    }
    this.#write(text);
    if (frame.type === 'reset') this.#subscribe();
  }

  /**
   * Before `subscribed`, what came says nothing about what was missed; in the middle of a commit,
   * one resumes before it.
   */
  #advance(position: string): void {
    if (this.#joined && !this.#isOpen) this.#progress.since = position;
  }

  /** A channel that was there once may be in the middle of a migration. */
  #mayPass(code: string): boolean {
    return RETRIED.has(code) || (this.#progress.joins > 0 && GONE.has(code));
  }

  #subscribe(): void {
    const { channel, snapshot } = this.#options;
    const { since } = this.#progress;
    this.#send({ type: 'subscribe', channel, ...(since !== undefined ? { since } : snapshot ? { snapshot } : {}) });
  }

  #send(frame: ClientFrame): void {
    this.#socket?.send(JSON.stringify(frame));
  }

  /**
   * Line breaks in a frame stand between JSON tokens only (json columns keep theirs): a space means
   * the same.
   */
  #write(text: string): void {
    this.#socket?.pause();
    this.#writing = this.#writing
      .then(() => this.#options.write(text.replace(/[\r\n]/g, ' ')))
      .then(() => this.#socket?.resume());
  }

  /** Notes why the connection ended (the first reason counts) and closes it. */
  #end(again: boolean, error: SnoError): void {
    this.#ended ??= {
      again,
      unreachable: !this.#opened,
      slow: error.code === 'overloaded' || error.code === 'too_many_requests',
      error,
    };
    this.#socket?.close(1000);
  }

  #expectSomething(): void {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => this.#socket?.terminate(), SILENCE_MS_MAX);
  }
}

function unreachable(url: string, error: NodeJS.ErrnoException): SnoError {
  const detail = error.message || String(error.code);
  const { hint } = ERRORS.server_unreachable;
  const check = checkOf(detail);
  return new SnoError('server_unreachable', `cannot connect to ${url}: ${plainDetail(detail)}`, {
    hint: check === undefined ? hint : `${check} ${hint}`,
    cause: error,
  });
}

const UNSUBSCRIBED = {
  access_revoked: 'access_denied',
  token_expired: 'token_expired',
  channel_dropped: 'channel_unknown',
} as const;

/** Temporary errors. */
const RETRIED: ReadonlySet<string> = new Set<ErrorCode>([
  'try_again',
  'overloaded',
  'too_many_requests',
  'channel_unavailable',
]);

/** The other close codes from 4000 on say that the client did something wrong. */
function mayComeBack(code: number): boolean {
  return code < 4_000 || code === CLOSE.tooManyRequests || code === CLOSE.noHello;
}

/** The server ends its message with the hint, which is shown apart here. */
function clientError({ code, message }: ErrorFrame): SnoError {
  if (!Object.hasOwn(ERRORS, code)) return new SnoError('server_unreachable', `${code}: ${message}`);
  const known = code as ErrorCode;
  const told = message.replace(`. ${ERRORS[known].hint}`, '');
  // It is tried again, so that the hint would not be shown.
  return new SnoError(
    known,
    known === 'channel_unavailable' && !told.includes('dropped') ? `${told}: \`sno check\` shows why` : told,
  );
}
