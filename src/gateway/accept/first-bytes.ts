/**
 * Waits for the first bytes of each connection before TLS is set up for it, and paces that.
 *
 * Node's TLS reads into a buffer that belongs to the connection for its lifetime. If TLS itself
 * makes the first read, the buffer has 64 KiB. If it is given bytes that have been read already, it
 * makes a buffer of their size, at least 1 KiB, and reads into that one until it is full. Then it
 * makes another of 16 KiB.
 *
 * When thousands of clients return at once, their first bytes may all be there in the same turn of
 * the event loop. A few handshakes a turn leave time for the clients that are connected.
 */
import type { Socket } from 'node:net';

/** Maximum connections that are passed on in one turn. A handshake takes some 0.4 ms. */
const PER_TURN = 8;

export class FirstBytes {
  readonly #take: (socket: Socket) => void;
  /** Connections that have sent something, oldest first. */
  readonly #ready = new Set<Socket>();
  #isScheduled = false;

  /** `take` is called with the bytes still in the socket's read buffer. */
  constructor(take: (socket: Socket) => void) {
    this.#take = take;
  }

  /** Passes the socket to `take` once bytes have arrived. */
  wait(socket: Socket): void {
    const onReadable = () => {
      // The client has closed without a byte.
      if (socket.readableLength === 0) return;
      socket.off('readable', onReadable);
      this.#ready.add(socket);
      this.#schedule();
    };
    socket.on('readable', onReadable);
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      this.#passOn();
    });
  }

  #passOn(): void {
    let left = PER_TURN;
    for (const socket of this.#ready) {
      if (left === 0) {
        this.#schedule();
        return;
      }
      this.#ready.delete(socket);
      if (socket.destroyed) continue;
      left--;
      this.#take(socket);
    }
  }
}
