/**
 * Removes leftovers of the TLS handshake and the HTTP request from a network socket that is now a
 * websocket's.
 */
import { EventEmitter } from 'node:events';

/** Events that node's TLS listens for until the handshake is over. */
const HANDSHAKE_EVENTS: ReadonlySet<string | symbol> = new Set(['secure', '_tlsError', 'newListener']);

type Listener = (...details: unknown[]) => void;

/**
 * Removes all listeners, and adds the ones still needed again, in their order. A socket's table of
 * listeners keeps a place for every event that ever had one. Otherwise it would stay twice as large
 * for the connection's lifetime.
 */
export function forgetHandshake(socket: EventEmitter): void {
  const all = socket.eventNames().map((event) => ({ event, listeners: socket.rawListeners(event) as Listener[] }));
  // The stream's own method would make it flow again in the next tick, even if it is paused until
  // then.
  EventEmitter.prototype.removeAllListeners.call(socket);
  for (const { event, listeners } of all) {
    if (HANDSHAKE_EVENTS.has(event)) continue;
    for (const listener of listeners) socket.on(event, listener);
  }
}
