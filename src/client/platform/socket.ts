/** The client's websocket, and the URL that it connects to. */
import { SnoClientError } from '../error.ts';
import { detailOf, socketAdvice } from './platform-errors.ts';

/**
 * The part of WebSocket that the client needs: the browser's, Node 22's and that of `ws` have it.
 */
export interface Socket {
  readonly readyState: number;
  onopen: ((event: never) => void) | null;
  onmessage: ((event: never) => void) | null;
  onclose: ((event: never) => void) | null;
  onerror: ((event: never) => void) | null;
  send(data: string): void;
  close(code?: number): void;
}

export type SocketClass = new (url: string) => Socket;

/** Everything that a client needs to connect. */
export interface Target {
  readonly url: string;
  readonly socketClass: SocketClass;
}

const OPEN = 1;

/** Returns the class to use. Throws `websocket_missing` if the platform has no WebSocket. */
export function findSocketClass(given: SocketClass | undefined): SocketClass {
  const found = given ?? (globalThis as { WebSocket?: SocketClass }).WebSocket;
  if (found !== undefined) return found;
  throw new SnoClientError(
    'websocket_missing',
    `There is no global WebSocket here${socketAdvice() ?? ': pass one as connect(url, { WebSocket }).'}`,
  );
}

/** Scheme, host with port, path, query. */
const ADDRESS = /^(ws|wss|http|https):\/\/([^\s/?#]+)([^\s?#]*)(\?[^\s#]*)?(#.*)?$/i;

/**
 * `wss://host/v1` as it is; `https://host` becomes `wss://host/v1`. In a page, a relative or
 * missing URL is resolved against the page's own. Throws `url_invalid`.
 *
 * The address is built as text: React Native's URL has no setters, and adds a slash to its
 * argument.
 */
export function endpoint(given: string | URL | undefined, page: string | undefined): string {
  const text = given === undefined ? undefined : String(given);
  const absolute = text !== undefined && /^[a-z][a-z\d+.-]*:/i.test(text) ? text : resolve(text, page);
  const [, scheme = '', host = '', path = '', query = ''] = ADDRESS.exec(absolute) ?? [];
  if (host === '' || !isUrl(absolute))
    throw new SnoClientError(
      'url_invalid',
      `${JSON.stringify(absolute)} is not a URL to connect to: use wss://, ws://, https:// or http://.`,
    );
  return `${scheme.toLowerCase().replace(/^http/, 'ws')}://${host}${path === '' || path === '/' ? '/v1' : path}${query}`;
}

function resolve(relative: string | undefined, page: string | undefined): string {
  try {
    return new URL(relative ?? '/', page).href;
  } catch {
    throw new SnoClientError(
      'url_invalid',
      `${relative === undefined ? 'No URL was given, and there is no page whose URL could be used' : `${JSON.stringify(relative)} is not a URL`}: pass one such as wss://example.com/v1.`,
    );
  }
}

function isUrl(text: string): boolean {
  try {
    return new URL(text) !== undefined;
  } catch {
    return false;
  }
}

/** The code of a connection that ended without a close frame. */
export const ABNORMAL_CLOSURE = 1006;

export interface SocketHandlers {
  opened(): void;
  received(data: unknown): void;
  /** Called once. `detail`: the platform's text about an error. Browsers give none. */
  closed(code: number, reason: string, detail: string): void;
}

/** One socket. After `drop` its handlers receive nothing more; `closed` still resolves. */
export class Wire {
  readonly #socket: Socket;
  /** Resolves when the socket is closed, whichever side closed it. */
  readonly closed: Promise<void>;
  #handlers: SocketHandlers | undefined;

  constructor(socket: Socket, handlers: SocketHandlers) {
    this.#socket = socket;
    this.#handlers = handlers;
    socket.onopen = () => this.#handlers?.opened();
    socket.onmessage = ({ data }: { data: unknown }) => this.#handlers?.received(data);
    this.closed = new Promise((resolve) => {
      const end = (code: number, reason: string, detail: string): void => {
        const told = this.#handlers;
        this.#handlers = undefined;
        resolve();
        told?.closed(code, reason, detail);
      };
      // Every error ends a websocket. On some platforms no close event follows it.
      socket.onerror = (event) => end(ABNORMAL_CLOSURE, '', detailOf(event));
      socket.onclose = ({ code, reason }: { code: number; reason: string }) => end(code, reason, '');
    });
  }

  send(text: string): void {
    if (this.#socket.readyState === OPEN) this.#socket.send(text);
  }

  drop(code: number): void {
    this.#handlers = undefined;
    this.#socket.close(code);
  }
}
