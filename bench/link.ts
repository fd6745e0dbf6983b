/**
 * A connection whose bytes can be counted without being decrypted. So a thousand clients cost the
 * load client little more than their reads. The socket reads into one buffer shared by all
 * connections. Until `blind` is called, the bytes read go through TLS, if the connection has it.
 */
import { connect as connectTcp, type Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { connect as connectTls, createSecureContext, type TLSSocket } from 'node:tls';

/** One context for all connections: creating one takes longer than a handshake. */
const SECURE = createSecureContext();
const SHARED = Buffer.allocUnsafeSlow(64 * 1024);

/** The network as TLS sees it. */
class Wire extends Duplex {
  socket: Socket | undefined;

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    if (this.socket === undefined) done();
    else this.socket.write(chunk, () => done());
  }

  override _final(done: () => void): void {
    this.socket?.end();
    done();
  }
}

export interface LinkOptions {
  readonly port: number;
  /** Whether the connection is without TLS. */
  readonly isPlain?: boolean;
  /** TLS session of an earlier connection, to be resumed. */
  readonly session: Buffer | undefined;
  readonly onOpen: () => void;
  readonly onSession: (session: Buffer) => void;
  /** Decrypted bytes; never after `blind`. */
  readonly onData: (bytes: Buffer) => void;
  /** Bytes came from the network. */
  readonly onRead: (bytes: number) => void;
  readonly onEnd: () => void;
}

export class Link {
  readonly #socket: Socket;
  /** Undefined: the connection is without TLS. */
  readonly #tls: TLSSocket | undefined;
  #isBlind = false;
  /** Bytes from the network. */
  bytes = 0;

  constructor(options: LinkOptions) {
    const { port, isPlain = false, onOpen, onData, onRead, onEnd } = options;
    const wire = isPlain ? undefined : new Wire();
    const callback = (count: number, buffer: Uint8Array) => {
      this.bytes += count;
      onRead(count);
      if (this.#isBlind) return true;
      const bytes = Buffer.from(buffer.subarray(0, count));
      if (wire === undefined) onData(bytes);
      else wire.push(bytes);
      return true;
    };
    const socket = connectTcp({ port, host: '127.0.0.1', onread: { buffer: SHARED, callback } });
    socket.setNoDelay(true);
    socket.on('error', () => undefined);
    socket.once('close', onEnd);
    this.#socket = socket;
    if (wire === undefined) socket.once('connect', onOpen);
    else {
      wire.socket = socket;
      this.#tls = secure(wire, options);
    }
  }

  write(bytes: Buffer | string): void {
    (this.#tls ?? this.#socket).write(bytes);
  }

  /** From now on, received bytes are only counted. Writing still works. */
  blind(): void {
    this.#isBlind = true;
    this.#tls?.removeAllListeners('data');
  }

  destroy(): void {
    this.#socket.destroy();
  }
}

function secure(wire: Wire, { session, onOpen, onSession, onData }: LinkOptions): TLSSocket {
  const tls = connectTls({
    socket: wire,
    secureContext: SECURE,
    rejectUnauthorized: false,
    ...(session === undefined ? {} : { session }),
  });
  tls.once('secureConnect', onOpen);
  tls.on('session', onSession);
  tls.on('data', onData);
  tls.on('error', () => undefined);
  wire.on('error', () => undefined);
  return tls;
}
