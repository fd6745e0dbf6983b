/**
 * Waits for the first bytes of a connection before TLS is set up for it.
 *
 * Node's TLS reads into a buffer that belongs to the connection for its lifetime. If TLS itself
 * makes the first read, the buffer has 64 KiB. If it is given bytes that have been read already, it
 * makes a buffer of their size, at least 1 KiB, and reads into that one from then on.
 */
import type { Socket } from 'node:net';

/** Calls `take` once bytes have arrived. They are still in the socket's read buffer then. */
export function waitForBytes(socket: Socket, take: (socket: Socket) => void): void {
  const onReadable = () => {
    // The client has closed without a byte: reading ends the stream.
    if (socket.readableLength === 0) {
      socket.read();
      return;
    }
    socket.off('readable', onReadable);
    take(socket);
  };
  socket.on('readable', onReadable);
}
