/** Finds the network socket below a TLS socket. */
import type { Socket } from 'node:net';

/** The addresses and ports of both ends identify a connection, with and without TLS. */
export interface AnySocket {
  readonly remoteAddress?: string | undefined;
  readonly remotePort?: number | undefined;
  readonly localAddress?: string | undefined;
  readonly localPort?: number | undefined;
}

/**
 * Returns the network socket of a connection: the socket itself, or the one below its TLS. Node
 * keeps that one as `_parent`. If it does not, the ends are compared with those of `sockets`.
 */
export function networkSocketOf(socket: AnySocket, sockets: ReadonlyMap<Socket, unknown>): Socket {
  if (sockets.has(socket as Socket)) return socket as Socket;
  const { _parent: parent } = socket as AnySocket & { readonly _parent?: Socket | null };
  if (parent !== undefined && parent !== null) return parent;
  for (const each of sockets.keys()) if (hasSameEnds(each, socket)) return each;
  return socket as Socket;
}

function hasSameEnds(a: AnySocket, b: AnySocket): boolean {
  return (
    a.remotePort === b.remotePort &&
    a.remoteAddress === b.remoteAddress &&
    a.localPort === b.localPort &&
    a.localAddress === b.localAddress
  );
}
