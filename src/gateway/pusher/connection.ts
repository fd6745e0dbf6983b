/**
 * Pusher's protocol 7: one client, from the upgrade to the close. channels.ts has its channels.
 *
 * waiting --service serves--> open any state --fault, drain, client closes--> closing
 *
 * - waiting: the service cannot serve the client yet. A client whose websocket is refused would
 *   retry after 15 seconds at the earliest, then after 30. So the upgrade is accepted. After a
 *   random time the client is established, or closed with a code that makes it retry a second
 *   later.
 * - The socket is not read while the client does not read its answers, so that no client can fill
 *   the memory with unread answers.
 */
import { randomInt } from 'node:crypto';
import { WebSocket } from 'ws';
import { noTimer } from '../../clock.ts';
import type { SnoError } from '../../errors.ts';
import type { Fanout, Feed, FeedObserver } from '../../fanout/fanout.ts';
import type { Metrics } from '../../metrics/metrics.ts';
import type { ServerFrame } from '../../protocol.ts';
import type { PendingConnection } from '../accept/pending-connection.ts';
import type { ClientState, WebSocketClient } from '../clients.ts';
import { Rate } from '../rate.ts';
import { type NetworkSocket, SignsOfLife } from '../signs-of-life.ts';
import { type ClientSocket, PING_FRAME, type ProtocolFault, type SocketOwner } from '../sno/socket.ts';
import { userText } from './app.ts';
import { type ChannelServices, type ChannelsOwner, PusherChannels } from './channels.ts';
import { type PusherClientFrame, readPusherFrame } from './client-frame.ts';
import { CODE, type PusherCode } from './codes.ts';
import { frameOf } from './frames.ts';

/** Silence after which a client sends a ping, in seconds. */
const ACTIVITY_SECONDS = 30;
/** How long a client waits for a service that is starting, in ms, from and to. */
const WAIT_MS = [1_000, 8_000] as const;
/** One half of a socket id. Together they are too many to be guessed. */
const SOCKET_ID_MAX = 2 ** 47;
/** The connection itself has no channel. */
const UNNAMED = { prefix: '', isSpelled: false } as const;
const PONG = frameOf('pusher:pong', {});

export interface PusherServices extends ChannelServices {
  readonly fanout: ChannelServices['fanout'] & Pick<Fanout, 'epoch' | 'attach'>;
  readonly metrics: Metrics;
  /** 0: no limit. */
  readonly framesPerSecondMax: number;
  readonly frameBytesMax: number;
  /** Whether the service does not serve clients yet. */
  readonly isStarting: () => boolean;
  /** Called when the connection is closed. */
  readonly onClosed: (connection: PusherConnection) => void;
}

/** Facts about a client before its first frame. */
export interface PusherOrigin {
  /** The client's address as limits count it. */
  readonly address: string;
  /** Whether the client accepts compressed frames. */
  readonly deflates: boolean;
  /** The pending connection, settled once the client is established. */
  readonly pending: PendingConnection | undefined;
  /** Why the client cannot be served by its URL. */
  readonly problem: { readonly code: PusherCode; readonly message: string } | undefined;
}

type State = 'waiting' | 'open' | 'closing';

export class PusherConnection implements SocketOwner, WebSocketClient, FeedObserver, ChannelsOwner {
  beatPart = 0;
  readonly deflates: boolean;
  readonly id = `${randomInt(1, SOCKET_ID_MAX)}.${randomInt(1, SOCKET_ID_MAX)}`;
  readonly address: string;
  readonly feed: Feed;
  readonly #socket: ClientSocket;
  readonly #network: NetworkSocket;
  readonly #signsOfLife: SignsOfLife;
  readonly #services: PusherServices;
  readonly #channels: PusherChannels;
  readonly #rate: Rate;
  readonly #problem: PusherOrigin['problem'];
  readonly #connectedAt = Math.floor(Date.now() / 1_000);
  #state: State = 'waiting';
  #pending: PendingConnection | undefined;
  #signedInUser: string | undefined;
  #closeCode: number | undefined;
  #cancelWait = noTimer;

  constructor(socket: ClientSocket, network: NetworkSocket, services: PusherServices, origin: PusherOrigin) {
    this.address = origin.address;
    this.deflates = origin.deflates;
    this.#socket = socket;
    this.#network = network;
    this.#signsOfLife = new SignsOfLife(network);
    this.#services = services;
    this.#pending = origin.pending;
    this.#problem = origin.problem;
    this.feed = services.fanout.attach(network, services.pusherEncodings.of(UNNAMED, origin.deflates), this);
    this.#channels = new PusherChannels(this, services);
    this.#rate = new Rate(services.framesPerSecondMax, services.clock);
    if (origin.deflates) socket.inflate(services.frameBytesMax);
    socket.use(this.feed, this);
  }

  get user(): string | undefined {
    return this.#signedInUser ?? this.#channels.identity?.user;
  }

  get signedInUser(): string | undefined {
    return this.#signedInUser;
  }

  get state(): ClientState {
    const { id, user } = this;
    const tokenExpiresAt = this.#channels.identity?.expiresAt;
    const connectedAt = this.#connectedAt * 1_000;
    return { id, user, connectedAt, tokenExpiresAt, protocol: 'pusher', sentBytes: this.#network.bytesWritten };
  }

  /** Serves the client, now or after it has waited for the service. */
  begin(): void {
    if (this.#problem !== undefined) return this.refuse(this.#problem.code, this.#problem.message);
    const { clock, fanout, isStarting } = this.#services;
    if (!isStarting() && fanout.epoch !== undefined) return this.#establish();
    const [from, to] = WAIT_MS;
    this.#cancelWait = clock.after(from + (to - from) * clock.random(), () => {
      if (this.#state !== 'waiting') return;
      if (!isStarting() && fanout.epoch !== undefined) this.#establish();
      else this.refuse(CODE.overCapacity, 'the service does not serve clients yet');
    });
  }

  /** Sends the error, then closes with its code. */
  refuse(code: PusherCode, message: string): void {
    if (this.#state === 'closing') return;
    this.#sendError(code, message);
    this.#close(code, message);
  }

  turnAway({ message }: SnoError): void {
    this.refuse(CODE.overCapacity, message);
  }

  /** The app has signed the user out: the client does not come back by itself. */
  signOut(): void {
    this.refuse(CODE.unauthorized, 'the app has ended the connections of this user');
  }

  drain(): void {
    this.#close(CODE.draining, 'draining');
  }

  suspend(): void {
    this.#close(CODE.overCapacity, 'cut off');
  }

  terminate(): void {
    this.#socket.terminate();
  }

  /**
   * Called once per heartbeat: asks for a sign of life, and closes the connection if none arrived.
   */
  beat(): void {
    if (!this.#signsOfLife.beat()) this.terminate();
    else if (this.#state !== 'closing') this.feed.sendRaw(PING_FRAME);
  }

  onMessage(data: Buffer): void {
    if (!this.#admit(data.length)) return;
    // Binary frames with JSON text count as text.
    const frame = readPusherFrame(data);
    if (typeof frame !== 'string') return this.#serve(frame);
    this.#services.metrics.framesReceived.malformed.inc();
    this.sendFault(frame);
  }

  onControl(data: Buffer): void {
    this.#admit(data.length);
  }

  onFault(fault: ProtocolFault): void {
    const { limits, frameBytesMax, metrics } = this.#services;
    if (fault === 'malformed') {
      metrics.framesReceived.malformed.inc();
      return this.refuse(CODE.malformed, 'the bytes are not a websocket frame of a client');
    }
    const isLarge = fault === 'too-large';
    limits.report(isLarge ? 'frame_bytes' : 'frame_pieces', this.address);
    const message = isLarge
      ? `the frame is larger than ${frameBytesMax} bytes`
      : 'the frame arrives in too many pieces';
    this.refuse(CODE.frameTooLarge, message);
  }

  onError({ message: error }: Error): void {
    this.#services.logger.debug({ connection: this.id, error }, 'a client connection failed');
  }

  onClosing(): void {
    this.#state = 'closing';
    this.#cancelWait();
    this.#channels.end();
  }

  onClose(code: number): void {
    this.onClosing();
    this.feed.detach();
    this.#services.metrics.closed(this.#closeCode ?? code);
    this.#services.onClosed(this);
  }

  sending(frame: ServerFrame): void {
    this.#channels.sending(frame);
  }

  caughtUp(): void {}

  onTokenExpired(): void {
    this.#close(CODE.tokenExpired, 'the token has expired');
  }

  sendFault(message: string): void {
    this.#sendError(CODE.reconnect, message);
  }

  refuseEvent(message: string): void {
    this.#sendError(CODE.invalidEvent, message);
  }

  #establish(): void {
    this.#state = 'open';
    this.#pending?.settle();
    this.#pending = undefined;
    const data = { socket_id: this.id, activity_timeout: ACTIVITY_SECONDS };
    this.feed.sendRaw(frameOf('pusher:connection_established', data));
  }

  /** Counts a frame. Returns false if the frame must be ignored. */
  #admit(bytes: number): boolean {
    if (this.#state === 'closing') return false;
    if (!this.#rate.take(bytes)) {
      const { limits, framesPerSecondMax } = this.#services;
      limits.report('frame_rate', this.address);
      this.refuse(CODE.tooManyFrames, `the connection sent more than ${framesPerSecondMax} frames a second`);
      return false;
    }
    if (this.#network.writableNeedDrain && !this.#socket.isPaused) {
      this.#socket.pause();
      this.#network.once('drain', () => this.#socket.resume());
    }
    return true;
  }

  #serve(frame: PusherClientFrame): void {
    const { deadlines, metrics } = this.#services;
    deadlines.check();
    // A client waits until it is established.
    if (this.#state !== 'open') return;
    switch (frame.kind) {
      case 'ping':
        metrics.framesReceived.ping.inc();
        this.feed.sendRaw(PONG);
        return;
      case 'pong':
        return;
      case 'subscribe':
        metrics.framesReceived.subscribe.inc();
        this.#channels.subscribe(frame);
        return;
      case 'unsubscribe':
        metrics.framesReceived.unsubscribe.inc();
        this.#channels.unsubscribe(frame.channel);
        return;
      case 'signin':
        metrics.framesReceived.token.inc();
        this.#signIn(frame.auth, frame.userData);
        return;
      case 'client event':
        metrics.framesReceived.send.inc();
        this.#channels.send(frame);
        return;
    }
  }

  #signIn(auth: string, userData: string): void {
    const user = userIn(userData);
    if (user === undefined || !this.#services.app.allows(auth, userText(this.id, userData)))
      return this.#sendError(CODE.unauthorized, 'the sign-in is not signed by the app for this connection');
    this.#signedInUser = user;
    this.feed.sendRaw(frameOf('pusher:signin_success', { user_data: userData }));
  }

  #sendError(code: PusherCode, message: string): void {
    if (this.#socket.readyState === WebSocket.OPEN) this.feed.sendRaw(frameOf('pusher:error', { code, message }));
  }

  #close(code: PusherCode, reason: string): void {
    if (this.#state === 'closing') return;
    this.#closeCode = code;
    this.#socket.close(code, reason);
    // The client's own close frame must be read.
    this.#socket.resume();
  }
}

/** The id in a user's data. Undefined: the data is not JSON with an id. */
function userIn(userData: string): string | undefined {
  try {
    const { id } = JSON.parse(userData) as { id?: unknown };
    return (typeof id === 'string' && id !== '') || typeof id === 'number' ? String(id) : undefined;
  } catch {
    return undefined;
  }
}
