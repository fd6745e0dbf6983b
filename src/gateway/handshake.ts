/** What is left of the TLS handshake, and of the HTTP request, at a network socket that is a websocket's from now on. */
import { EventEmitter } from 'node:events';

/** What node's TLS listens for until the handshake is over. */
const HANDSHAKE_EVENTS: ReadonlySet<string | symbol> = new Set(['secure', '_tlsError', 'newListener']);

type Listener = (...details: unknown[]) => void;

/**
 * Takes all listeners away, and gives back those that are of use still, in their order. The table that the socket has of them keeps a
 * place for every event that anybody ever listened for: it would stay twice as large, for as long as the connection lasts.
 */
export function forgetHandshake(socket: EventEmitter): void {
  const all = socket.eventNames().map((event) => ({ event, listeners: socket.rawListeners(event) as Listener[] }));
  // the stream's own method would have it flow again in the next tick, though somebody pauses it until then
  EventEmitter.prototype.removeAllListeners.call(socket);
  for (const { event, listeners } of all) {
    if (HANDSHAKE_EVENTS.has(event)) continue;
    for (const listener of listeners) socket.on(event, listener);
  }
}
