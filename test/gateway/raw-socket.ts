/** A websocket client made of bytes: it sends what no library would. */
import { once } from 'node:events';
import { connect as netConnect, type Socket } from 'node:net';
import { type ConnectionOptions, connect as tlsConnect } from 'node:tls';
import { until } from '../support/wait.ts';

/** `port` on 127.0.0.1; TLS if `ca` is set. */
export interface Target extends Pick<ConnectionOptions, 'ca' | 'servername'> {
  readonly port: number;
  /** One of 127.0.0.0/8. */
  readonly localAddress?: string;
}

export interface FrameOptions {
  readonly opcode?: number;
  readonly final?: boolean;
  /** The three reserved bits, 0 to 7. */
  readonly reserved?: number;
  readonly masked?: boolean;
  /** The length in the header, if it differs from the payload's. */
  readonly length?: bigint;
}

export const OPCODE = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

/** A frame of a client (RFC 6455, section 5.2). The mask is zero, so the payload stays readable. */
export function clientFrame(payload: string | Buffer, options: FrameOptions = {}): Buffer {
  const { opcode = OPCODE.text, final = true, reserved = 0, masked = true } = options;
  const bytes = Buffer.from(payload as string);
  const length = options.length ?? BigInt(bytes.length);
  const mask = masked ? 0x80 : 0;
  const first = (final ? 0x80 : 0) | (reserved << 4) | opcode;
  const head =
    length < 126n
      ? Buffer.of(first, mask | Number(length))
      : length < 65_536n
        ? Buffer.of(first, mask | 126, Number(length) >> 8, Number(length) & 0xff)
        : Buffer.concat([Buffer.of(first, mask | 127), bigEndian(length)]);
  return Buffer.concat([head, Buffer.alloc(masked ? 4 : 0), bytes]);
}

export function closeFrame(code: number, reason = ''): Buffer {
  return clientFrame(Buffer.concat([Buffer.of(code >> 8, code & 0xff), Buffer.from(reason)]), {
    opcode: OPCODE.close,
  });
}

/** A request to become a websocket. `headers` are added; undefined removes one. */
export function upgradeRequest(path = '/v1', headers: Readonly<Record<string, string | undefined>> = {}): string {
  const all = {
    host: '127.0.0.1',
    upgrade: 'websocket',
    connection: 'Upgrade',
    'sec-websocket-key': 'AAAAAAAAAAAAAAAAAAAAAA==',
    'sec-websocket-version': '13',
    ...headers,
  };
  const lines = Object.entries(all).flatMap(([name, value]) => (value === undefined ? [] : [`${name}: ${value}`]));
  return `GET ${path} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`;
}

export class RawSocket {
  readonly socket: Socket;
  received = Buffer.alloc(0);
  isEnded = false;
  #bodyStart = 0;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (data) => {
      this.received = Buffer.concat([this.received, data]);
    });
    for (const event of ['end', 'close'])
      socket.on(event, () => {
        this.isEnded = true;
      });
    // the test checks how it ended
    socket.on('error', () => {});
  }

  /** Resolves once connected, and after the TLS handshake if `ca` is set. */
  static async connect({ port, localAddress = '127.0.0.1', ...tls }: Target): Promise<RawSocket> {
    const target = { host: '127.0.0.1', port, localAddress };
    const isTls = tls.ca !== undefined;
    const raw = new RawSocket(isTls ? tlsConnect({ ...target, ...tls }) : netConnect(target));
    await Promise.race([once(raw.socket, isTls ? 'secureConnect' : 'connect'), once(raw.socket, 'close')]);
    return raw;
  }

  /** A websocket that has sent nothing yet. */
  static async upgraded(
    target: Target,
    headers: Readonly<Record<string, string | undefined>> = {},
  ): Promise<RawSocket> {
    const raw = await RawSocket.connect(target);
    raw.socket.write(upgradeRequest('/v1', headers));
    await until(() => raw.received.includes('\r\n\r\n'), 'the handshake is answered');
    if (!raw.head.startsWith('HTTP/1.1 101')) throw new Error(`no websocket: ${raw.head}`);
    raw.#bodyStart = raw.received.indexOf('\r\n\r\n') + 4;
    return raw;
  }

  /** Opens a websocket for each of the streams, and sends the stream's bytes. */
  static sending(target: Target, streams: readonly (readonly Buffer[])[]): Promise<RawSocket[]> {
    return Promise.all(
      streams.map(async (chunks) => {
        const raw = await RawSocket.upgraded(target);
        for (const chunk of chunks) await raw.send(chunk);
        return raw;
      }),
    );
  }

  /** A websocket that has been welcomed. */
  static async welcomed(target: Target): Promise<RawSocket> {
    const raw = await RawSocket.upgraded(target);
    raw.socket.write(clientFrame('{"type":"hello"}'));
    await until(() => raw.texts().some((text) => text.includes('"welcome"')), 'the welcome');
    return raw;
  }

  /** The head of the answer to the HTTP request. */
  get head(): string {
    return this.received.toString('latin1').split('\r\n\r\n', 1)[0] ?? '';
  }

  get status(): number {
    return Number(/^HTTP\/1\.1 (\d+)/.exec(this.head)?.[1]);
  }

  /** Writes, and waits until the socket accepts more. Returns false once it is closed. */
  async send(bytes: Buffer | string): Promise<boolean> {
    if (!this.socket.writable) return false;
    const { socket } = this;
    if (!socket.write(bytes))
      await new Promise<void>((resolve) => {
        const done = () => {
          socket.off('drain', done).off('close', done);
          resolve();
        };
        socket.on('drain', done).on('close', done);
      });
    return this.socket.writable;
  }

  /** The received text frames. */
  texts(): string[] {
    return this.#frames()
      .filter(({ opcode }) => opcode === OPCODE.text)
      .map(({ payload }) => payload.toString());
  }

  /** The codes of the received errors. */
  errors(): string[] {
    return this.texts().flatMap((text) => /^{"type":"error","code":"(\w+)"/.exec(text)?.[1] ?? []);
  }

  /**
   * Waits for a close frame or the end. Returns the close code, or undefined without a close frame.
   */
  async ended(): Promise<number | undefined> {
    await until(() => this.closeCode !== undefined || this.isEnded, 'the connection has ended');
    const code = this.closeCode;
    this.socket.destroy();
    return code;
  }

  get closeCode(): number | undefined {
    const close = this.#frames().find(({ opcode }) => opcode === OPCODE.close);
    // 1005: a close without a code
    return close === undefined ? undefined : close.payload.length < 2 ? 1_005 : close.payload.readUInt16BE(0);
  }

  #frames(): { readonly opcode: number; readonly payload: Buffer }[] {
    const frames: { opcode: number; payload: Buffer }[] = [];
    const bytes = this.received;
    for (let at = this.#bodyStart; at + 2 <= bytes.length; ) {
      const short = (bytes[at + 1] as number) & 0x7f;
      const header = short < 126 ? 2 : short === 126 ? 4 : 10;
      if (at + header > bytes.length) break;
      const length =
        short < 126 ? short : short === 126 ? bytes.readUInt16BE(at + 2) : Number(bytes.readBigUInt64BE(at + 2));
      if (at + header + length > bytes.length) break;
      frames.push({
        opcode: (bytes[at] as number) & 0x0f,
        payload: bytes.subarray(at + header, at + header + length),
      });
      at += header + length;
    }
    return frames;
  }
}

function bigEndian(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(value);
  return bytes;
}
