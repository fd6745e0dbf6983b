/**
 * The websocket that the client runs on, and where it connects to.
 */
import { SnoClientError } from './error.ts';

/** What the client needs of a WebSocket: the browser's, Node 22's and that of `ws` have it. */
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

const OPEN = 1;

/** The class to use. Throws `websocket_missing` where there is none. */
export function findSocketClass(given: SocketClass | undefined): SocketClass {
  const found = given ?? (globalThis as { WebSocket?: SocketClass }).WebSocket;
  if (found !== undefined) return found;
  throw new SnoClientError(
    'websocket_missing',
    "There is no global WebSocket here (Node has one from version 22): pass one, as in connect(url, { WebSocket: (await import('ws')).WebSocket }).",
  );
}

/**
 * `wss://host/v1` as it is; `https://host` becomes `wss://host/v1`. In a page, a relative URL and none at all are
 * taken from the page's own. Throws `url_invalid`.
 */
export function endpoint(given: string | URL | undefined, page: string | undefined): string {
  let url: URL;
  try {
    url = new URL(given ?? '/', page);
  } catch {
    throw new SnoClientError(
      'url_invalid',
      `${given === undefined ? 'No URL was given, and there is no page to take it from' : `${JSON.stringify(String(given))} is no URL`}: pass one such as wss://example.com/v1.`,
    );
  }
  url.protocol = url.protocol.replace(/^http/, 'ws');
  if (!/^wss?:$/.test(url.protocol))
    throw new SnoClientError(
      'url_invalid',
      `${url.href} cannot be connected to: use wss://, ws://, https:// or http://.`,
    );
  if (url.pathname === '/') url.pathname = '/v1';
  url.hash = '';
  return url.href;
}

export interface SocketHandlers {
  opened(): void;
  received(data: unknown): void;
  closed(code: number, reason: string): void;
}

/** One socket: after `drop` nothing is heard of it any more but that it has closed. */
export class Wire {
  readonly #socket: Socket;
  /** Resolves when the socket is closed, whoever closed it. */
  readonly closed: Promise<void>;
  #handlers: SocketHandlers | undefined;

  constructor(socket: Socket, handlers: SocketHandlers) {
    this.#socket = socket;
    this.#handlers = handlers;
    socket.onopen = () => this.#handlers?.opened();
    socket.onmessage = ({ data }: { data: unknown }) => this.#handlers?.received(data);
    // A close follows every error and says more. `ws` throws where nobody listens.
    socket.onerror = () => {};
    this.closed = new Promise((resolve) => {
      socket.onclose = ({ code, reason }: { code: number; reason: string }) => {
        resolve();
        this.#handlers?.closed(code, reason);
      };
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
