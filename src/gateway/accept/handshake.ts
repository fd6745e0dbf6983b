/**
 * Removes leftovers of the TLS handshake and the HTTP request from a network socket that is now a
 * websocket's.
 *
 * Some of them are private members of Node's sockets. Each is removed only if it is what Node 20
 * has there; otherwise it stays, and takes memory.
 */
import { EventEmitter } from 'node:events';

/** Events that node's TLS listens for until the handshake is over. */
const HANDSHAKE_EVENTS: ReadonlySet<string | symbol> = new Set(['secure', '_tlsError', 'newListener']);

type Listener = (...details: unknown[]) => void;

/** The private members of a socket that are used here. */
interface Leftovers {
  _events?: unknown;
  _tlsOptions?: unknown;
  [symbol: symbol]: unknown;
}

/** The options of a TLS socket. Node makes a copy for each connection. */
interface SocketOptions {
  readonly server: object;
  readonly secureContext: unknown;
}

/** The options that the connections of a server share from now on. */
const sharedOptions = new WeakMap<object, SocketOptions>();

/** The key of a socket's idle timer, once known. */
let timerKey: symbol | undefined;

export function forgetHandshake(socket: EventEmitter): void {
  forgetListeners(socket);
  const leftovers = socket as unknown as Leftovers;
  forgetTimer(leftovers);
  shareOptions(leftovers);
}

/**
 * Removes all listeners, and adds the ones still needed again, in their order. A socket's table of
 * listeners keeps a place for every event that ever had one. Otherwise it would stay twice as large
 * for the connection's lifetime.
 */
function forgetListeners(socket: EventEmitter): void {
  const all = socket.eventNames().map((event) => ({ event, listeners: socket.rawListeners(event) as Listener[] }));
  // The stream's own method would make it flow again in the next tick, even if it is paused until
  // then.
  EventEmitter.prototype.removeAllListeners.call(socket);
  for (const { event, listeners } of all) {
    if (HANDSHAKE_EVENTS.has(event)) continue;
    for (const listener of listeners) socket.on(event, listener);
  }
  const { _events: table } = socket as unknown as Leftovers;
  if (typeof table !== 'object' || table === null) return;
  // An array that has grown has room for sixteen more.
  for (const [event, listeners] of Object.entries(table))
    if (Array.isArray(listeners)) (table as Record<string, unknown>)[event] = listeners.slice();
}

/** Drops the timer of the handshake, which was cancelled when it ended. */
function forgetTimer(socket: Leftovers): void {
  timerKey ??= Object.getOwnPropertySymbols(socket).find(({ description }) => description === 'timeout');
  if (timerKey === undefined) return;
  const timer = socket[timerKey] as { readonly _destroyed?: unknown } | null | undefined;
  if (timer?._destroyed === true) socket[timerKey] = null;
}

/** Replaces the socket's copy of its server's options by that of another connection. */
function shareOptions(socket: Leftovers): void {
  const options = socket._tlsOptions;
  if (!isSocketOptions(options)) return;
  const shared = sharedOptions.get(options.server);
  // A new certificate makes a new context.
  if (shared?.secureContext === options.secureContext) socket._tlsOptions = shared;
  else sharedOptions.set(options.server, options);
}

function isSocketOptions(options: unknown): options is SocketOptions {
  if (typeof options !== 'object' || options === null) return false;
  const { server, secureContext } = options as Partial<SocketOptions>;
  return typeof server === 'object' && server !== null && secureContext !== undefined;
}
