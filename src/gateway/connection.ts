/**
 * One client: from hello to close.
 *
 *     awaiting-hello --hello--> verifying --token is good--> open --token frame--> verifying ...
 *     any of them --fault, drain, client closes--> closing
 *
 * Frames are handled in the order in which they come. While a token is being checked the socket is not read, and what
 * had been read with it waits; the same where the client does not take what it is sent, so that nobody can fill the
 * memory with answers that he does not read.
 */
import { randomUUID } from 'node:crypto';
import type { Duplex } from 'node:stream';
import { WebSocket } from 'ws';
import type { Identity, Tokens } from '../access/access.ts';
import { type ErrorCode, SnoError } from '../errors.ts';
import type { Fanout, Feed } from '../fanout/fanout.ts';
import { parseCommitReference } from '../fanout/reach.ts';
import type { Logger } from '../logger.ts';
import type { Metrics } from '../metrics.ts';
import { CLOSE, type ClientFrame, type CloseCode, HEARTBEAT_SECONDS } from '../protocol.ts';
import { readClientFrame } from './client-frame.ts';
import type { Cancel } from './clock.ts';
import type { Limits } from './limits.ts';
import { Rate } from './rate.ts';
import { type ClientSocket, PING_FRAME, type ProtocolFault } from './socket.ts';
import { type SubscriptionServices, Subscriptions } from './subscriptions.ts';

/** Heartbeats without a sign of life after which a client is given up. */
const SILENT_BEATS_MAX = 2;

export interface ConnectionServices extends SubscriptionServices {
  readonly tokens: Tokens;
  readonly fanout: Pick<Fanout, 'epoch' | 'attach' | 'attend'>;
  readonly metrics: Metrics;
  readonly logger: Logger;
  readonly limits: Limits;
  readonly helloMs: number;
  readonly tokenBytesMax: number;
  /** 0 = no limit. */
  readonly framesPerSecondMax: number;
  readonly frameBytesMax: number;
}

/** What is known of a client before it has said anything. */
export interface Origin {
  /** Of the Authorization header. */
  readonly bearer: string | undefined;
  /** As limits count it. */
  readonly address: string;
  /** Whether it takes compressed frames, and may send some. */
  readonly deflates: boolean;
  /** To be called when it is welcome. */
  readonly welcomed: () => void;
}

/** What is read of the network socket below; net.Socket and TLSSocket have it. */
export type NetworkSocket = Duplex & { readonly bytesRead: number; readonly bytesWritten: number };

type State = 'awaiting-hello' | 'verifying' | 'open' | 'closing';

const nothing: Cancel = () => {};

export class Connection {
  readonly id = randomUUID();
  readonly #socket: ClientSocket;
  readonly #network: NetworkSocket;
  readonly #services: ConnectionServices;
  readonly #feed: Feed;
  readonly #subscriptions: Subscriptions;
  readonly #rate: Rate;
  readonly #origin: Origin;
  #state: State = 'awaiting-hello';
  #identity: Identity | undefined;
  /** Frames that had been read when the token's check began. */
  #waiting: Buffer[] = [];
  #closeCode: number | undefined;
  #cancelHello: Cancel;
  #cancelExpiry: Cancel = nothing;
  #silentBeats = 0;
  #lastBeat = { read: 0, written: 0, backedUp: false };

  constructor(socket: ClientSocket, network: NetworkSocket, services: ConnectionServices, origin: Origin) {
    this.#socket = socket;
    this.#network = network;
    this.#services = services;
    this.#origin = origin;
    this.#feed = services.fanout.attach(network, origin.deflates);
    if (origin.deflates) socket.inflate(services.frameBytesMax);
    this.#subscriptions = new Subscriptions(this.#feed, services, origin.address, (error, channel) =>
      this.#sendError(error, channel),
    );
    this.#rate = new Rate(services.framesPerSecondMax, () => services.clock.now());
    this.#cancelHello = services.clock.after(services.helloMs, () => {
      services.limits.met('hello_time', origin.address);
      const message = `no hello came within ${services.helloMs / 1_000} seconds`;
      this.refuse(new SnoError('hello_required', message), CLOSE.noHello);
    });
    socket.use(this.#feed, { onFault: (fault) => this.#onFault(fault), onClosing: () => this.#stop() });
    socket.on('message', (data, isBinary) => this.#receive(data as Buffer, isBinary));
    for (const control of ['ping', 'pong'] as const) socket.on(control, (data: Buffer) => this.#admit(data.length));
    socket.on('error', (error) =>
      services.logger.debug({ connection: this.id, error: error.message }, 'a client connection failed'),
    );
    socket.on('close', (code) => this.#onClose(code));
    // One read for each time that the client has taken what was sent, even where more is written at once.
    network.on('drain', () => {
      if (this.#state !== 'verifying') socket.resume();
    });
  }

  /** Sends the error, then closes. */
  refuse(error: SnoError, code: CloseCode): void {
    if (this.#state === 'closing') return;
    this.#sendError(error);
    this.close(code, error.code);
  }

  /** Closes by the closing handshake; what the client sends from now on is not looked at. */
  close(code: CloseCode, reason: string): void {
    if (this.#state === 'closing') return;
    this.#closeCode = code;
    this.#socket.close(code, reason);
    // The client's own close frame has to be read.
    this.#socket.resume();
  }

  get deflates(): boolean {
    return this.#origin.deflates;
  }

  terminate(): void {
    this.#socket.terminate();
  }

  /** Called once a heartbeat: asks for a sign of life, and gives up where none came. */
  beat(): void {
    const { bytesRead: read, bytesWritten, writableLength, writableNeedDrain: backedUp } = this.#network;
    const last = this.#lastBeat;
    // Whoever is still taking a large frame cannot answer pings that stand behind it.
    const written = bytesWritten - writableLength;
    const alive = read !== last.read || (last.backedUp && written !== last.written);
    this.#silentBeats = alive ? 0 : this.#silentBeats + 1;
    this.#lastBeat = { read, written, backedUp };
    if (this.#silentBeats > SILENT_BEATS_MAX) this.terminate();
    else if (this.#state !== 'closing') this.#feed.sendRaw(PING_FRAME);
  }

  /** Counts a frame; false where it must not be looked at. */
  #admit(bytes: number): boolean {
    if (this.#state === 'closing') return false;
    if (!this.#rate.take(bytes)) {
      this.#services.limits.met('frame_rate', this.#origin.address);
      this.refuse(
        new SnoError('too_many_requests', `more than ${this.#services.framesPerSecondMax} frames a second`),
        CLOSE.tooManyRequests,
      );
      return false;
    }
    if (this.#network.writableNeedDrain) this.#socket.pause();
    return true;
  }

  #receive(data: Buffer, isBinary: boolean): void {
    if (!this.#admit(data.length)) return;
    if (isBinary) this.#malformed(new SnoError('malformed_frame', 'a binary frame; frames are JSON text'));
    else if (this.#state === 'verifying') this.#waiting.push(data);
    else this.#read(data);
  }

  #read(data: Buffer): void {
    const frame = readClientFrame(data);
    if (frame instanceof SnoError) this.#malformed(frame);
    else this.#handle(frame);
  }

  #handle(frame: ClientFrame): void {
    this.#services.metrics.framesReceived[frame.type].inc();
    switch (this.#state) {
      case 'awaiting-hello':
        this.#cancelHello();
        if (frame.type === 'hello') void this.#verify(frame.token ?? this.#origin.bearer);
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

  #serve(frame: ClientFrame): void {
    switch (frame.type) {
      case 'hello':
        this.refuse(new SnoError('hello_repeated', 'a second hello'), CLOSE.malformed);
        return;
      case 'token':
        void this.#verify(frame.token);
        return;
      case 'subscribe':
        this.#subscriptions.subscribe(frame);
        return;
      case 'unsubscribe':
        this.#subscriptions.unsubscribe(frame.channel);
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
      this.#malformed(new SnoError('malformed_frame', 'ping: reached must be an LSN (0/16B3748) or a transaction id'));
    else if (!this.#feed.reach(commit)) {
      this.#services.limits.met('waiting_commits', this.#origin.address);
      this.refuse(
        new SnoError('too_many_requests', 'the connection waits for too many commits'),
        CLOSE.tooManyRequests,
      );
    }
  }

  async #verify(token: string | undefined): Promise<void> {
    const isHello = this.#state === 'awaiting-hello';
    this.#state = 'verifying';
    this.#socket.pause();
    const identity = this.#tokenFault(token) ?? (await this.#services.tokens.verify(token));
    if (this.#state !== 'verifying') return;
    if (identity instanceof SnoError) {
      this.refuse(identity, CLOSE.tokenRefused);
      return;
    }
    this.#state = 'open';
    if (isHello && !this.#welcome()) return;
    this.#take(identity);
    this.#resume();
  }

  #tokenFault(token: string | undefined): SnoError | undefined {
    const { limits, tokenBytesMax } = this.#services;
    if (token === undefined || Buffer.byteLength(token) <= tokenBytesMax) return undefined;
    limits.met('token_bytes', this.#origin.address);
    return new SnoError('token_invalid', `the token is longer than ${tokenBytesMax} bytes`);
  }

  /** False where there is no stream yet that could be joined. */
  #welcome(): boolean {
    const { epoch } = this.#services.fanout;
    if (epoch === undefined) {
      this.refuse(new SnoError('try_again', 'Snö is not connected to the database yet'), CLOSE.overloaded);
      return false;
    }
    this.#origin.welcomed();
    this.#feed.send({ type: 'welcome', connection: this.id, epoch, heartbeat_s: HEARTBEAT_SECONDS });
    return true;
  }

  #take(identity: Identity): void {
    const grantedUntil = this.#identity?.expiresAt ?? Number.POSITIVE_INFINITY;
    this.#identity = identity;
    this.#subscriptions.setClaims(identity.claims, grantedUntil);
    this.#cancelExpiry();
    this.#cancelExpiry = nothing;
    if (identity.expiresAt === undefined) return;
    this.#cancelExpiry = this.#services.clock.after(identity.expiresAt - this.#services.clock.now(), () =>
      this.#subscriptions.expire(),
    );
  }

  /** Handles what waited for the token, up to the next token; then reads on. */
  #resume(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const [index, data] of waiting.entries()) {
      this.#read(data);
      if (this.#state !== 'open') {
        if (this.#state === 'verifying') this.#waiting = waiting.slice(index + 1);
        return;
      }
    }
    this.#socket.resume();
  }

  #malformed(error: SnoError): void {
    this.#services.metrics.framesReceived.malformed.inc();
    this.refuse(error, CLOSE.malformed);
  }

  #onFault(fault: ProtocolFault): void {
    const { limits, frameBytesMax } = this.#services;
    if (fault === 'malformed') {
      this.#malformed(new SnoError('malformed_frame', 'the bytes are no websocket text frame of a client'));
      return;
    }
    const isLarge = fault === 'too-large';
    limits.met(isLarge ? 'frame_bytes' : 'frame_pieces', this.#origin.address);
    const message = isLarge ? `the frame is larger than ${frameBytesMax} bytes` : 'the frame comes in too many pieces';
    this.refuse(new SnoError('frame_too_large', message), CLOSE.frameTooLarge);
  }

  #sendError(error: SnoError, channel?: string): void {
    if (this.#socket.readyState !== WebSocket.OPEN) return;
    const code: ErrorCode = error.code;
    this.#services.metrics.denials[code]?.inc();
    this.#services.logger.debug({ connection: this.id, code, channel }, 'told a client that something is wrong');
    this.#feed.send({
      type: 'error',
      code,
      message: `${error.message}. ${error.mend}`,
      ...(channel === undefined ? {} : { channel }),
    });
  }

  #stop(): void {
    this.#state = 'closing';
    this.#cancelHello();
    this.#cancelExpiry();
    this.#waiting = [];
    this.#subscriptions.stop();
  }

  #onClose(code: number): void {
    this.#stop();
    this.#feed.detach();
    this.#services.metrics.closed(this.#closeCode ?? code);
  }
}
