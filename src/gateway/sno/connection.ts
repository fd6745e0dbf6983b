/**
 * Snö's own websocket protocol: one client, from hello to close. The session (session.ts) decides
 * what the client may do; this connection reads its frames, and paces and closes the socket.
 *
 * awaiting-hello --hello--> verifying --valid token--> open --token frame--> verifying ...
 * any state --fault, drain, client closes--> closing
 *
 * Frames are handled in the order in which they arrive. While a token is being checked, the socket
 * is not read, and frames already read wait. A token that was verified before needs no wait. The
 * socket is also not read while the client does not read its answers, so that no client can fill
 * the memory with unread answers.
 */
import { WebSocket } from 'ws';
import type { Identity } from '../../access/access.ts';
import { noTimer } from '../../clock.ts';
import { SnoError } from '../../errors.ts';
import type { Fanout, Feed } from '../../fanout/fanout.ts';
import { parseCommitReference } from '../../fanout/reach.ts';
import type { Metrics } from '../../metrics/metrics.ts';
import { CLOSE, type CloseCode, HEARTBEAT_SECONDS } from '../../protocol.ts';
import type { PendingConnection } from '../accept/pending-connection.ts';
import type { ClientState, WebSocketClient } from '../clients.ts';
import { Rate } from '../rate.ts';
import { Session, type SessionConnection, type SessionServices, type SubscribeRequest } from '../session.ts';
import { type NetworkSocket, SignsOfLife } from '../signs-of-life.ts';
import { type ReceivedFrame, readClientFrame } from './client-frame.ts';
import type { FrameEncodings, Frames } from './encodings.ts';
import { type ClientSocket, PING_FRAME, type ProtocolFault, type SocketOwner } from './socket.ts';

/** The close code of a client whose WebSocket does not accept a frame of this size. */
const FRAME_TOO_LARGE = 1009;

export interface ConnectionServices extends SessionServices {
  readonly fanout: SessionServices['fanout'] & Pick<Fanout, 'epoch' | 'attach'>;
  readonly metrics: Metrics;
  readonly frames: FrameEncodings;
  readonly helloMs: number;
  /** 0: no limit. */
  readonly framesPerSecondMax: number;
  readonly frameBytesMax: number;
  /** Called when the connection is closed. */
  readonly onClosed: (connection: Connection) => void;
}

/** Facts about a client before its first frame. */
export interface Origin {
  /** The token in the Authorization header. */
  readonly bearer: string | undefined;
  /** The client's address as limits count it. */
  readonly address: string;
  /** Whether the client accepts compressed frames, and may send them. */
  readonly deflates: boolean;
  /** The pending connection, settled once the client has its welcome. */
  readonly pending: PendingConnection | undefined;
}

type State = 'awaiting-hello' | 'verifying' | 'open' | 'closing';

export class Connection implements SocketOwner, SessionConnection, WebSocketClient {
  beatPart = 0;
  readonly #socket: ClientSocket;
  readonly #network: NetworkSocket;
  readonly #signsOfLife: SignsOfLife;
  readonly #services: ConnectionServices;
  readonly #frames: Frames;
  readonly #feed: Feed;
  readonly #session: Session;
  readonly #rate: Rate;
  #state: State = 'awaiting-hello';
  /** Set until the hello. */
  #bearer: string | undefined;
  /** Set until the welcome. */
  #pending: PendingConnection | undefined;
  /** Frames that had been read when the token check began. Undefined: none. */
  #waiting: Buffer[] | undefined;
  #closeCode: number | undefined;
  #cancelHello = noTimer;

  constructor(socket: ClientSocket, network: NetworkSocket, services: ConnectionServices, origin: Origin) {
    const { bearer, address, deflates, pending } = origin;
    this.#socket = socket;
    this.#network = network;
    this.#signsOfLife = new SignsOfLife(network);
    this.#services = services;
    this.#bearer = bearer;
    this.#pending = pending;
    this.#frames = deflates ? services.frames.deflated : services.frames.plain;
    this.#feed = services.fanout.attach(network, this.#frames.usual);
    if (deflates) socket.inflate(services.frameBytesMax);
    this.#session = new Session(this.#feed, services, this, address);
    this.#rate = new Rate(services.framesPerSecondMax, services.clock);
    this.#cancelHello = services.clock.after(services.helloMs, () => {
      services.limits.report('hello_time', address);
      const message = `no hello arrived within ${services.helloMs / 1_000} seconds`;
      this.refuse(new SnoError('hello_required', message), CLOSE.noHello);
    });
    socket.use(this.#feed, this);
  }

  get id(): string {
    return this.#session.id;
  }

  get user(): string | undefined {
    return this.#session.user;
  }

  get feed(): Feed {
    return this.#feed;
  }

  get state(): ClientState {
    return { ...this.#session.state, protocol: 'ws', sentBytes: this.#network.bytesWritten };
  }

  get address(): string {
    return this.#session.address;
  }

  /** Does nothing: the connection waits for the client's hello. */
  begin(): void {}

  turnAway(error: SnoError): void {
    this.refuse(error, CLOSE.overloaded);
  }

  /** Sends the error, then closes. */
  refuse(error: SnoError, code: CloseCode): void {
    if (this.#state === 'closing') return;
    this.sendError(error);
    this.close(code, error.code);
  }

  /** Closes with the closing handshake. Frames that the client sends from now on are ignored. */
  close(code: CloseCode, reason: string): void {
    if (this.#state === 'closing') return;
    this.#closeCode = code;
    this.#socket.close(code, reason);
    // The client's own close frame must be read.
    this.#socket.resume();
  }

  get deflates(): boolean {
    return this.#feed.encoding === this.#services.frames.deflated.usual;
  }

  drain(): void {
    this.close(CLOSE.draining, 'draining');
  }

  suspend(): void {
    this.close(CLOSE.overloaded, 'cut off');
  }

  terminate(): void {
    this.#socket.terminate();
  }

  /**
   * Called once per heartbeat: asks for a sign of life, and closes the connection if none arrived.
   */
  beat(): void {
    if (!this.#signsOfLife.beat()) this.terminate();
    else if (this.#state !== 'closing') this.#feed.sendRaw(PING_FRAME);
  }

  onMessage(data: Buffer, isBinary: boolean): void {
    if (!this.#admit(data.length)) return;
    if (isBinary)
      this.#refuseMalformed(new SnoError('malformed_frame', 'the frame is binary; frames must be JSON text'));
    else if (this.#state === 'verifying') this.#wait(data);
    else this.#read(data);
  }

  onControl(data: Buffer): void {
    this.#admit(data.length);
  }

  onFault(fault: ProtocolFault): void {
    const { limits, frameBytesMax } = this.#services;
    if (fault === 'malformed') {
      this.#refuseMalformed(new SnoError('malformed_frame', 'the bytes are not a websocket text frame of a client'));
      return;
    }
    const isLarge = fault === 'too-large';
    limits.report(isLarge ? 'frame_bytes' : 'frame_pieces', this.address);
    const message = isLarge
      ? `the frame is larger than ${frameBytesMax} bytes`
      : 'the frame arrives in too many pieces';
    this.refuse(new SnoError('frame_too_large', message), CLOSE.frameTooLarge);
  }

  onError({ message: error }: Error): void {
    this.#services.logger.debug({ connection: this.id, error }, 'a client connection failed');
  }

  onClosing(): void {
    this.#state = 'closing';
    this.#cancelHelloTimer();
    this.#waiting = undefined;
    this.#session.end();
  }

  onClose(code: number): void {
    this.onClosing();
    this.#feed.detach();
    if (code === FRAME_TOO_LARGE && this.#closeCode === undefined) this.#logTooLarge();
    this.#services.metrics.closed(this.#closeCode ?? code);
    this.#services.onClosed(this);
  }

  sendError(error: SnoError, channel?: string): void {
    if (this.#socket.readyState !== WebSocket.OPEN) return;
    const { code, message } = this.#session.record(error, channel);
    this.#feed.send({ type: 'error', code, message, ...(channel === undefined ? {} : { channel }) });
  }

  /** Logs the reason, since many clients cannot report it to the page. */
  #logTooLarge(): void {
    const { limits, logger } = this.#services;
    limits.logSometimes('frame_too_large_for_client', () =>
      logger.info(
        {
          connection: this.id,
          address: this.address,
          hint: 'Raise the limit of its WebSocket, or make the rows smaller.',
        },
        'a client closed its connection, because a frame is larger than its WebSocket accepts',
      ),
    );
  }

  /** Counts a frame. Returns false if the frame must be ignored. */
  #admit(bytes: number): boolean {
    if (this.#state === 'closing') return false;
    if (!this.#rate.take(bytes)) {
      this.#services.limits.report('frame_rate', this.address);
      this.refuse(
        new SnoError(
          'too_many_requests',
          `the connection sent more than ${this.#services.framesPerSecondMax} frames a second`,
        ),
        CLOSE.tooManyRequests,
      );
      return false;
    }
    if (this.#network.writableNeedDrain && !this.#socket.isPaused) this.#pauseUntilDrained();
    return true;
  }

  /** Reads on when the client has received everything sent, even if more is written at once. */
  #pauseUntilDrained(): void {
    this.#socket.pause();
    // If a token is being checked then, reading resumes after the check.
    this.#network.once('drain', () => {
      if (this.#state !== 'verifying') this.#socket.resume();
    });
  }

  #read(data: Buffer): void {
    const frame = readClientFrame(data);
    if (frame instanceof SnoError) this.#refuseMalformed(frame);
    else this.#handle(frame);
  }

  #handle(frame: ReceivedFrame): void {
    this.#services.metrics.framesReceived[frame.type].inc();
    switch (this.#state) {
      case 'awaiting-hello':
        this.#cancelHelloTimer();
        if (frame.type === 'hello') this.#take(frame.token ?? this.#bearer);
        else
          this.refuse(new SnoError('hello_required', `the first frame was ${frame.type}, not hello`), CLOSE.malformed);
        return;
      case 'open':
        this.#serve(frame);
        return;
      case 'verifying':
      case 'closing':
        return;
    }
  }

  #serve(frame: ReceivedFrame): void {
    this.#services.deadlines.check();
    switch (frame.type) {
      case 'hello':
        this.refuse(new SnoError('hello_repeated', 'the client sent a second hello'), CLOSE.malformed);
        return;
      case 'token':
        this.#take(frame.token);
        return;
      case 'subscribe':
        this.#session.subscribe(requestOf(frame, this.#frames));
        return;
      case 'unsubscribe':
        this.#session.unsubscribe(frame.channel);
        return;
      case 'send':
        this.#session.send(frame);
        return;
      case 'ping':
        this.#ping(frame.reached);
        return;
    }
  }

  #ping(reached: string | undefined): void {
    if (reached === undefined) return this.#feed.heartbeat();
    const commit = parseCommitReference(reached);
    if (commit === undefined)
      this.#refuseMalformed(
        new SnoError('malformed_frame', 'ping: reached must be an LSN (0/16B3748) or a transaction id'),
      );
    else if (!this.#feed.reach(commit)) {
      this.#services.limits.report('waiting_commits', this.address);
      this.refuse(
        new SnoError('too_many_requests', 'the connection already waits for as many commits as it may'),
        CLOSE.tooManyRequests,
      );
    }
  }

  /** Takes a token. If it was verified before, the frames behind it need not wait. */
  #take(token: string | undefined): void {
    const isHello = this.#state === 'awaiting-hello';
    this.#bearer = undefined;
    const identity = this.#session.recall(token);
    if (identity === undefined) void this.#verify(token, isHello);
    else this.#begin(identity, isHello);
  }

  /** Returns false if the connection is being closed. */
  #begin(identity: Identity, isHello: boolean): boolean {
    this.#state = 'open';
    if (isHello && !this.#welcome()) return false;
    this.#session.renew(identity);
    return true;
  }

  async #verify(token: string | undefined, isHello: boolean): Promise<void> {
    this.#state = 'verifying';
    this.#socket.pause();
    const identity = await this.#session.verify(token);
    if (this.#state !== 'verifying') return;
    if (identity instanceof SnoError) {
      this.refuse(identity, CLOSE.tokenRefused);
      return;
    }
    if (this.#begin(identity, isHello)) this.#resume();
  }

  /** Sends the welcome. Returns false if there is no stream to join yet. */
  #welcome(): boolean {
    const { epoch } = this.#services.fanout;
    if (epoch === undefined) {
      this.refuse(new SnoError('try_again', 'Snö is not connected to the database yet'), CLOSE.overloaded);
      return false;
    }
    this.#pending?.settle();
    this.#pending = undefined;
    this.#feed.send({ type: 'welcome', connection: this.id, epoch, heartbeat_s: HEARTBEAT_SECONDS });
    return true;
  }

  #cancelHelloTimer(): void {
    this.#cancelHello();
    this.#cancelHello = noTimer;
  }

  #wait(data: Buffer): void {
    this.#waiting ??= [];
    this.#waiting.push(data);
  }

  /**
   * Handles frames that waited for the token check, up to the next token frame. Then resumes
   * reading.
   */
  #resume(): void {
    const waiting = this.#waiting ?? [];
    this.#waiting = undefined;
    for (const [index, data] of waiting.entries()) {
      this.#read(data);
      if (this.#state !== 'open') {
        if (this.#state === 'verifying') this.#waiting = waiting.slice(index + 1);
        return;
      }
    }
    this.#socket.resume();
  }

  #refuseMalformed(error: SnoError): void {
    this.#services.metrics.framesReceived.malformed.inc();
    this.refuse(error, CLOSE.malformed);
  }
}

function requestOf(frame: Extract<ReceivedFrame, { type: 'subscribe' }>, frames: Frames): SubscribeRequest {
  const { presence, old, ...request } = frame;
  return {
    ...request,
    ...(presence === undefined || presence === false ? {} : { presence }),
    ...(old === true ? { alias: { name: request.channel, encoding: frames.withOldValues } } : {}),
  };
}
