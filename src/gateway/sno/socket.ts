/**
 * A client's websocket, for receiving only. Its feed writes the frames to the client, large ones in
 * slices over several turns. A pong or close frame written by `ws` itself could land in the middle
 * of one. So these frames go through the feed: it answers pings, and the closing handshake. The
 * handshake's states and timer stay in `ws`.
 *
 * This relies on private members of ws: `_sender`, of which only `close` is called;
 * `_closeFrameReceived`; `_extensions`. And on `_events` of Node's emitters, which may be undefined
 * while there is no listener. The version of ws is pinned, and the tests of close codes and of
 * compressed frames fail if that changes.
 */
import { WebSocket } from 'ws';
import { assert } from '../../errors.ts';
import type { Feed } from '../../fanout/fanout.ts';
import { Inflater } from './deflate.ts';

const CLOSE_OPCODE = 0x88;
const PING_OPCODE = 0x89;
const PONG_OPCODE = 0x8a;

/**
 * The close codes with which `ws` ends a connection whose frames break the websocket protocol
 * itself.
 */
export type ProtocolFault = 'malformed' | 'too-many-pieces' | 'too-large';
const PROTOCOL_FAULTS: Readonly<Record<number, ProtocolFault>> = {
  1002: 'malformed',
  1007: 'malformed',
  1008: 'too-many-pieces',
  1009: 'too-large',
};

/** The websocket's owner. It receives what `ws` emits: listeners would cost memory per client. */
export interface SocketOwner {
  /** Must close with a code of Snö's own protocol. */
  onFault(fault: ProtocolFault): void;
  /** The closing handshake has begun, by either side: nothing more may be sent. */
  onClosing(): void;
  onMessage(data: Buffer, isBinary: boolean): void;
  /** A ping, which has been answered, or a pong. */
  onControl(data: Buffer): void;
  onError(error: Error): void;
  onClose(code: number): void;
}

type Sending = Pick<Feed, 'sendRaw' | 'close'>;

/** Replaces the sender of `ws`, of which only this is called. */
class Sender {
  readonly #feed: Sending;
  readonly #owner: SocketOwner;

  constructor(feed: Sending, owner: SocketOwner) {
    this.#feed = feed;
    this.#owner = owner;
  }

  close(code: number | undefined, reason: string | Buffer | undefined, _mask: boolean, sent: () => void): void {
    this.#owner.onClosing();
    this.#feed.close(closeFrame(code, reason), sent);
  }
}

export class ClientSocket extends WebSocket {
  declare _sender: Sender;
  declare readonly _closeFrameReceived: boolean;
  /** By name. The receiver shares this object. */
  declare _extensions: Record<string, unknown>;
  declare _events: object | undefined;
  #feed: Sending | undefined;
  #owner: SocketOwner | undefined;
  /** The fault of a compressed frame, for which `ws` gives no close code. */
  #fault: ProtocolFault | undefined;

  /** Sends through this feed from now on. */
  use(feed: Sending, owner: SocketOwner): void {
    this.#feed = feed;
    this.#owner = owner;
    this._sender = new Sender(feed, owner);
    // `emit` calls the owner from now on.
    this._events = undefined;
  }

  /**
   * Accepts compressed frames once permessage-deflate is negotiated. `bytesMax`: maximum inflated
   * bytes of a message.
   */
  inflate(bytesMax: number): void {
    this._extensions['permessage-deflate'] = new Inflater(bytesMax, (fault) => {
      this.#fault = fault;
    });
  }

  override emit(event: string | symbol, ...details: unknown[]): boolean {
    const owner = this.#owner;
    if (owner === undefined) return super.emit(event, ...details);
    switch (event) {
      case 'message':
        owner.onMessage(details[0] as Buffer, details[1] as boolean);
        break;
      case 'ping':
        if (this.readyState === WebSocket.OPEN) this.#feed?.sendRaw(controlFrame(PONG_OPCODE, details[0] as Buffer));
        owner.onControl(details[0] as Buffer);
        break;
      case 'pong':
        owner.onControl(details[0] as Buffer);
        break;
      case 'error':
        owner.onError(details[0] as Error);
        break;
      case 'close':
        owner.onClose(details[0] as number);
        break;
    }
    return true;
  }

  override close(code?: number, reason?: string | Buffer): void {
    const isFault = this.readyState === WebSocket.OPEN && !this._closeFrameReceived;
    const fault = isFault ? (code === undefined ? this.#fault : PROTOCOL_FAULTS[code]) : undefined;
    if (fault === undefined || this.#owner === undefined) super.close(code, reason);
    else this.#owner.onFault(fault);
  }
}

/** A ping without payload. */
export const PING_FRAME = controlFrame(PING_OPCODE, Buffer.alloc(0));

function closeFrame(code: number | undefined, reason: string | Buffer = ''): Buffer {
  if (code === undefined) return controlFrame(CLOSE_OPCODE, Buffer.alloc(0));
  const payload = Buffer.alloc(2 + Buffer.byteLength(reason));
  payload.writeUInt16BE(code);
  if (typeof reason === 'string') payload.write(reason, 2);
  else reason.copy(payload, 2);
  return controlFrame(CLOSE_OPCODE, payload);
}

function controlFrame(opcode: number, payload: Buffer): Buffer {
  assert(payload.length <= 125, 'the payload of a control frame has at most 125 bytes');
  return Buffer.concat([Buffer.of(opcode, payload.length), payload]);
}
