/**
 * The websocket of a client, for receiving only. Frames to the client, large ones in slices over several turns, are
 * written by its feed; a pong or close frame that `ws` wrote itself could land in the middle of one. So what `ws` would
 * write goes through the feed: pings are answered there, and so is the closing handshake, whose states and timer stay
 * those of `ws`.
 *
 * It relies on members of ws that are private (`_sender`, of which nothing but `close` is called; `_closeFrameReceived`; `_extensions`):
 * its version is pinned, and the tests of close codes and of compressed frames fail where that changes.
 */
import { WebSocket } from 'ws';
import { assert } from '../errors.ts';
import type { Feed } from '../fanout/fanout.ts';
import { Inflater } from './deflate.ts';

const CLOSE_OPCODE = 0x88;
const PING_OPCODE = 0x89;
const PONG_OPCODE = 0x8a;

/** The close codes with which `ws` ends a connection whose frames break the websocket protocol itself. */
export type ProtocolFault = 'malformed' | 'too-many-pieces' | 'too-large';
const PROTOCOL_FAULTS: Readonly<Record<number, ProtocolFault>> = {
  1002: 'malformed',
  1007: 'malformed',
  1008: 'too-many-pieces',
  1009: 'too-large',
};

/** Who owns the websocket. What `ws` emits comes here: listeners would cost every client memory. */
export interface SocketOwner {
  /** Is to close with a code of Snö's own protocol. */
  onFault(fault: ProtocolFault): void;
  /** The closing handshake has begun, by whichever side: nothing more may be sent. */
  onClosing(): void;
  onMessage(data: Buffer, isBinary: boolean): void;
  /** A ping, which has been answered, or a pong. */
  onControl(data: Buffer): void;
  onError(error: Error): void;
  onClose(code: number): void;
}

type Sending = Pick<Feed, 'sendRaw' | 'close'>;

/** In place of the sender of `ws`, of which only this is called. */
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
  /** By name; the receiver has the same object. */
  declare readonly _extensions: Record<string, unknown>;
  #feed: Sending | undefined;
  #owner: SocketOwner | undefined;
  /** Of a compressed frame, for which `ws` gives no close code. */
  #fault: ProtocolFault | undefined;

  /** Sends by this feed from now on. */
  use(feed: Sending, owner: SocketOwner): void {
    this.#feed = feed;
    this.#owner = owner;
    this._sender = new Sender(feed, owner);
  }

  /** permessage-deflate was agreed on: takes compressed frames, up to `bytesMax` bytes of what they hold. */
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
