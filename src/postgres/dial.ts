/** Opens a socket to one host of a connection string, encrypted or not, as libpq does. */
import { lookup } from 'node:dns/promises';
import type { Socket } from 'node:net';
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls';
import { type Host, isSocketFolder, socketFile, type Target } from './conninfo/target.ts';

/** How far a failed attempt got. */
export type Stage = 'dial' | 'tls' | 'startup' | 'session';

/** Why one attempt on one host failed. */
export class AttemptFailure extends Error {
  readonly stage: Stage;
  readonly host: Host;
  readonly isEncrypted: boolean;
  constructor(stage: Stage, host: Host, isEncrypted: boolean, cause: unknown) {
    super((cause as Error).message, { cause });
    this.stage = stage;
    this.host = host;
    this.isEncrypted = isEncrypted;
  }
}

/** The server's answer to the request for TLS makes the connection impossible. */
export class TlsRefusal extends Error {
  readonly code: 'NO_TLS' | 'NOT_POSTGRES';

  constructor(code: TlsRefusal['code'], message: string) {
    super(message);
    this.code = code;
  }
}

export interface Dialled {
  readonly socket: Socket;
  readonly isEncrypted: boolean;
}

export interface DialOptions {
  readonly target: Target;
  readonly host: Host;
  /** Whether to ask the server for TLS. */
  readonly isEncrypted: boolean;
  readonly makeSocket: () => Socket;
  /** Receives the socket at once, so that it can be destroyed. */
  readonly onSocket: (socket: Socket) => void;
}

/** SSLRequest: its length, and its code. */
const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]);
const YES = 0x53;
const NO = 0x4e;

/**
 * Throws AttemptFailure. If the mode allows it and the server has no TLS, the socket is not
 * encrypted.
 */
export async function dial({ target, host, isEncrypted, makeSocket, onSocket }: DialOptions): Promise<Dialled> {
  const socket = makeSocket();
  onSocket(socket);
  const { tls, keepAlive, keepAliveIdleMs } = target;
  let stage: Stage = 'dial';
  try {
    await opened(socket, host);
    socket.setNoDelay(true);
    if (keepAlive) socket.setKeepAlive(true, keepAliveIdleMs);
    if (!isEncrypted || isSocketFolder(host.address)) return { socket, isEncrypted: false };
    stage = 'tls';
    const options = tls.options(host.name || (tls.mode === 'verify-full' ? '' : host.address));
    if (!tls.isDirect && !(await agreesToTls(socket))) {
      if (tls.order.includes(false)) return { socket, isEncrypted: false };
      throw new TlsRefusal('NO_TLS', `the server does not support TLS, and sslmode=${tls.mode} requires it`);
    }
    return { socket: await encrypted(socket, options, onSocket), isEncrypted: true };
  } catch (error) {
    socket.destroy();
    throw new AttemptFailure(stage, host, isEncrypted, error);
  }
}

/** Returns the addresses of a host, each to be tried as a host of its own. */
export async function addressesOf(host: Host): Promise<Host[]> {
  if (isSocketFolder(host.address)) return [host];
  const found = await lookup(host.address, { all: true }).catch(() => []);
  return found.length === 0
    ? [host]
    : found.map(({ address }) => ({ ...host, name: host.name || host.address, address }));
}

function opened(socket: Socket, { address, port }: Host): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once('error', reject);
    socket.once('close', () => reject(new Error('the connection was closed')));
    socket.once('connect', () => {
      socket.off('error', reject);
      // An error after this must not end the process.
      socket.on('error', () => undefined);
      resolve();
    });
    if (isSocketFolder(address)) socket.connect(socketFile(address, port));
    else socket.connect(port, address);
  });
}

/**
 * The answer is one byte. More bytes would be text that an attacker inserted before TLS
 * (CVE-2021-23222).
 */
function agreesToTls(socket: Socket): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const done = (settle: () => void) => {
      socket.off('data', answered).off('error', failed).off('close', closed);
      settle();
    };
    const answered = (answer: Buffer) =>
      done(() => {
        if (answer.length === 1 && answer[0] === YES) resolve(true);
        else if (answer.length === 1 && answer[0] === NO) resolve(false);
        else reject(new TlsRefusal('NOT_POSTGRES', 'the server there does not speak the Postgres protocol'));
      });
    const failed = (error: Error) => done(() => reject(error));
    const closed = () => done(() => reject(new Error('the server closed the connection when Snö asked for TLS')));
    socket.on('data', answered).on('error', failed).on('close', closed);
    socket.write(SSL_REQUEST);
  });
}

function encrypted(socket: Socket, options: ConnectionOptions, onSocket: (socket: Socket) => void): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const secure = connectTls({ ...options, socket });
    onSocket(secure);
    const closed = () => reject(new Error('the server closed the connection during the TLS handshake'));
    secure.once('error', reject);
    secure.once('close', closed);
    secure.once('secureConnect', () => {
      secure.off('error', reject).off('close', closed);
      secure.on('error', () => undefined);
      resolve(secure);
    });
  });
}
