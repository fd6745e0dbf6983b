/**
 * The websocket under the client of `sno tail`. It writes each frame of the channel unchanged, and
 * passes to the client only what it needs to resume: `tail` keeps no rows.
 *
 * A connection serves one subscription. When the subscription ends, the tap closes the connection,
 * so that the client reconnects as after any lost connection.
 */
import type { ConnectionOptions } from 'node:tls';
import { type ClientOptions, WebSocket } from 'ws';
import { SnoError } from '../../errors.ts';
import type { ClientFrame, ServerFrame } from '../../protocol.ts';
import { endingOf, unreachable } from './endings.ts';

export interface TapOptions {
  /** Options of the TLS connection: what it trusts. */
  readonly tls: Pick<ConnectionOptions, 'ca' | 'rejectUnauthorized' | 'checkServerIdentity'>;
  /** Whether to begin with the rows, if there is no position to resume from. */
  readonly snapshot: boolean;
  /** Writes one frame as one line. Resolves when it can take the next. */
  write(line: string): Promise<void>;
  /** Whether the channel was live once, on this connection or an earlier one. */
  wasJoined(): boolean;
  /** The subscription has ended, and retrying cannot help. */
  end(error: SnoError): void;
}

/** Types of frames that are written. The other types are about the connection. */
const WRITTEN: ReadonlySet<string> = new Set<ServerFrame['type']>([
  'snapshot',
  'subscribed',
  'changes',
  'message',
  'reset',
  'unsubscribed',
]);

/** A frame that shows the client only that the server works. */
const SIGN_OF_LIFE = { type: 'alive' };
/** How often the client receives it while the output is blocked, in ms. */
const SIGN_OF_LIFE_MS = 5_000;

export class Tap extends WebSocket {
  /** Why the connection ended. The first reason counts. */
  why: SnoError | undefined;
  readonly #options: TapOptions;
  /** Number of lines that wait to be written. The socket is paused until all are written. */
  #waiting = 0;

  constructor(url: string, options: TapOptions) {
    // No limit on what the server sends: no row is too large.
    const limits = { maxPayload: 0, perMessageDeflate: false, handshakeTimeout: 10_000 };
    // The cast: ws passes these to tls.connect, but its type of checkServerIdentity is wrong.
    super(url, { ...limits, ...options.tls } as unknown as ClientOptions);
    this.#options = options;
    const signs = setInterval(() => {
      if (this.#waiting > 0) this.#pass(SIGN_OF_LIFE);
    }, SIGN_OF_LIFE_MS);
    this.on('error', (error) => {
      this.why ??= unreachable(url, error);
    });
    this.on('close', (code, reason) => {
      clearInterval(signs);
      const said = `the connection to ${url} was closed: ${code} ${reason.toString()}`.trimEnd();
      this.why ??= new SnoError('server_unreachable', said);
    });
  }

  /** Asks for the snapshot, which the client does not: it would keep all rows until the last. */
  override send(text: string): void {
    const frame = JSON.parse(text) as ClientFrame;
    const wantsRows = this.#options.snapshot && frame.type === 'subscribe' && frame.since === undefined;
    super.send(wantsRows ? JSON.stringify({ ...frame, snapshot: true }) : text);
  }

  /** Receives each frame before the client does. */
  override emit(name: string | symbol, ...args: unknown[]): boolean {
    if (name !== 'message') return super.emit(name, ...args);
    // Frames that arrive after the client closed the connection come again on the next one.
    if (this.readyState === WebSocket.OPEN) this.#receive(String(args[0]));
    return true;
  }

  #receive(text: string): void {
    const frame = parse(text);
    if (frame === undefined) {
      super.emit('message', text, false);
      return;
    }
    if (WRITTEN.has(frame.type)) this.#write(text);
    const ending = endingOf(frame, this.#options.wasJoined());
    if (ending === undefined) this.#pass(withoutRows(frame));
    else {
      this.why ??= ending.error;
      if (!ending.again) this.#options.end(ending.error);
      // At a reset, the client forgets its position.
      if (ending.isVoid) this.#pass({ ...frame, type: 'reset' });
      this.close(1000);
    }
  }

  /**
   * Line breaks are only between JSON tokens (json columns keep theirs), so a space replaces them.
   */
  #write(text: string): void {
    this.#waiting += 1;
    this.pause();
    const done = (): void => {
      this.#waiting -= 1;
      if (this.#waiting === 0) this.resume();
    };
    this.#options.write(text.replace(/[\r\n]/g, ' ')).then(done, done);
  }

  /** Passes a frame to the client. */
  #pass(frame: object): void {
    super.emit('message', JSON.stringify(frame), false);
  }
}

/** Returns the frame without its rows, which the client would keep until the commit is whole. */
function withoutRows(frame: ServerFrame): object {
  if (frame.type === 'snapshot') return SIGN_OF_LIFE;
  return frame.type === 'changes' ? { ...frame, events: [] } : frame;
}

/** Undefined: the text is not a frame, which the client reports. */
function parse(text: string): ServerFrame | undefined {
  try {
    const frame = JSON.parse(text) as ServerFrame | null;
    return typeof frame?.type === 'string' ? frame : undefined;
  } catch {
    return undefined;
  }
}
