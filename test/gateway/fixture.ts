/**
 * A gateway on a free port with the real fan-out behind it, and bare clients. The database's
 * answers are scripted here.
 */
import { once } from 'node:events';
import type { SecureContextOptions } from 'node:tls';
import { WebSocket } from 'ws';
import type { Access, Claims, Member, Rights } from '../../src/access/access.ts';
import { createTokens } from '../../src/access/token.ts';
import type { ClaimValue } from '../../src/channels/events.ts';
import type { ResolvedChannel } from '../../src/channels/served/served.ts';
import { type Clock, systemClock } from '../../src/clock.ts';
import { readSettings } from '../../src/config/read.ts';
import { Deadlines } from '../../src/deadlines.ts';
import { SnoError } from '../../src/errors.ts';
import { EncodedForms } from '../../src/fanout/encoded-forms.ts';
import { Hub } from '../../src/fanout/hub.ts';
import { PusherEncodings } from '../../src/gateway/pusher/encoding.ts';
import { Gateway, type GatewayOptions } from '../../src/gateway/server.ts';
import { frameEncodings } from '../../src/gateway/sno/encodings.ts';
import { eventEncodings } from '../../src/gateway/sse/encoding.ts';
import { Certificate as ServedCertificate } from '../../src/http/tls.ts';
import { MemoryJournal } from '../../src/journal/memory.ts';
import { createLogger } from '../../src/logger.ts';
import { Markers } from '../../src/markers/markers.ts';
import { createMetrics, type Metrics } from '../../src/metrics/metrics.ts';
import { Exchange } from '../../src/peers/exchange.ts';
import { PeerSwitch } from '../../src/peers/peer-switch.ts';
import { Peers } from '../../src/peers/peers.ts';
import { SignOuts } from '../../src/peers/sign-outs.ts';
import { SubscriptionCounts } from '../../src/peers/subscription-counts.ts';
import { formatPosition, type Position } from '../../src/position.ts';
import type { Publication } from '../../src/postgres/publisher.ts';
import { Presence } from '../../src/presence/presence.ts';
import type { ServerFrame } from '../../src/protocol.ts';
import { payloadOf } from '../support/payloads.ts';
import { type Certificate, selfSigned } from '../support/tls.ts';
import { until } from '../support/wait.ts';

export const SECRET = 'a secret of the tests, thirty-two bytes';
export const EPOCH = 'abc-1-1';
export const POSITION = formatPosition(EPOCH, 100, 1);

/** Answers access checks by script. After `hold`, checks wait until `release`. */
export class ScriptedAccess implements Access, Rights {
  answer: (channel: ResolvedChannel, claims: Claims) => SnoError | undefined = () => undefined;
  checks = 0;
  #held: (() => void)[] | undefined;

  hold(): void {
    this.#held = [];
  }

  release(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const go of held) go();
  }

  async check(channel: ResolvedChannel, claims: Claims): Promise<SnoError | undefined> {
    this.checks++;
    await new Promise<void>((resolve) => (this.#held === undefined ? resolve() : this.#held.push(resolve)));
    return this.answer(channel, claims);
  }

  checkSend(channel: ResolvedChannel, claims: Claims): Promise<SnoError | undefined> {
    return this.check(channel, claims);
  }

  checkWatch(): undefined {
    return undefined;
  }

  async findMember(channel: ResolvedChannel, claims: Claims): Promise<Member | SnoError> {
    return (await this.check(channel, claims)) ?? { id: String(claims['sub']), info: '{}' };
  }
}

/** Resolves `room:...` to a channel without a view, and refuses `bad:...`. */
function resolve(name: string): ResolvedChannel | SnoError {
  const [kind, value] = name.split(':') as [string, string?];
  if (value === undefined) return new SnoError('channel_invalid', 'this is not a canonical channel name');
  if (kind === 'bad') return new SnoError('channel_unavailable', 'the view is refused');
  if (kind !== 'room') return new SnoError('channel_unknown', `the channel ${name} does not exist`);
  const pattern = { text: 'room:{id}', columns: ['id'], literals: ['room:', ''] };
  return { name, values: [value], valueTypes: ['text'], pattern, view: undefined, access: undefined };
}

function patternOf(name: string): string | undefined {
  const channel = resolve(name);
  return channel instanceof SnoError ? undefined : channel.pattern.text;
}

/** A clock that the test advances. */
export class ManualClock implements Clock {
  /** What `random` returns next, in turn; 0.5 if empty. */
  readonly randoms: number[] = [];
  #now = 1_800_000_000_000;
  #timers = new Set<{ readonly at: number; readonly callback: () => void }>();

  now(): number {
    return this.#now;
  }

  random(): number {
    return this.randoms.shift() ?? 0.5;
  }

  after(ms: number, callback: () => void): () => void {
    const timer = { at: this.#now + ms, callback };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  /** The machine sleeps: the clock moves on, and every timer is delayed by as much. */
  suspend(ms: number): void {
    this.#now += ms;
    for (const timer of [...this.#timers]) {
      this.#timers.delete(timer);
      this.#timers.add({ ...timer, at: timer.at + ms });
    }
  }

  advance(ms: number): void {
    this.#now += ms;
    for (const timer of [...this.#timers].sort((a, b) => a.at - b.at)) {
      if (timer.at > this.#now || !this.#timers.delete(timer)) continue;
      timer.callback();
    }
  }
}

export interface Fixture {
  readonly gateway: Gateway;
  readonly hub: Hub;
  readonly access: ScriptedAccess;
  /** Messages that were published over HTTP. */
  readonly published: readonly Publication[];
  readonly metrics: Metrics;
  readonly certificate: Certificate;
  /** `wss://127.0.0.1:port`. */
  readonly url: string;
  readonly port: number;
  /** Lines of the log, at level debug. */
  readonly log: string[];
  /** How often a connection reached its limit of waiting bytes. */
  readonly outboundFull: number;
  connect(options?: ConnectOptions): Client;
  /** A client that has been welcomed. */
  welcomed(options?: ConnectOptions): Promise<Client>;
  /** Number of clients made here that are open. */
  openClients(): number;
  /** Publishes one message to a channel. */
  publish(channel: string, data: unknown): void;
  /** Delivers a commit that may revoke access to the channel, or to all channels of its pattern. */
  revoke(channel?: string, claim?: ClaimValue): void;
  stop(): Promise<void>;
}

export interface ConnectOptions {
  readonly headers?: Record<string, string>;
  readonly origin?: string;
  readonly ca?: SecureContextOptions['ca'];
  readonly rejectUnauthorized?: boolean;
  readonly autoPong?: boolean;
  readonly perMessageDeflate?: WebSocket.ClientOptions['perMessageDeflate'];
  /** Without TLS. */
  readonly plain?: boolean;
}

interface StartOptions
  extends Partial<Pick<GatewayOptions, 'clock' | 'heartbeatMs' | 'socketsMax' | 'bundleFile' | 'tokens'>> {
  readonly settings?: Record<string, string>;
  readonly connected?: boolean;
  /** `gateway.open` has not been called. */
  readonly isStarting?: boolean;
  /** The stream delivers no marker. */
  readonly holdsMarkers?: boolean;
}

export async function startGateway(options: StartOptions = {}): Promise<Fixture> {
  const certificate = await selfSigned();
  const { settings: own, connected = true, ...rest } = options;
  const settings = readSettings({
    SNO_PORT: '0',
    SNO_TLS_CERT: certificate.certFile,
    SNO_TLS_KEY: certificate.keyFile,
    SNO_JWT_SECRET: SECRET,
    ...own,
  });
  const clock = options.clock ?? systemClock;
  const journal = new MemoryJournal({ bytesMax: 2 ** 28, ageMaxMs: 3_600_000, now: () => clock.now() });
  const arrive = (id: string) => (options.holdsMarkers === true ? undefined : markers.receive(id));
  const markers: Markers = new Markers({ emit: async (id) => arrive(id), pause: async () => {} });
  const metrics = createMetrics();
  const deflation = {
    bytesMin: settings.SNO_COMPRESS_BYTES,
    forms: new EncodedForms(2 ** 20),
    deflated: (before: number, after: number) => metrics.compression.frame(before, after),
  };
  const frames = frameEncodings(deflation);
  let outboundFull = 0;
  const deadlines = new Deadlines(clock);
  const hub = new Hub(journal, markers, {
    outboundBytesMax: settings.SNO_OUTBOUND_BYTES,
    waitingCommitsMax: settings.SNO_MAX_WAITING_COMMITS,
    outboundTotalBytesMax: settings.SNO_OUTBOUND_TOTAL_BYTES,
    visible: async () => {},
    snapshots: { request: () => ({ outcome: Promise.resolve('whole'), leave() {} }) },
    pause: async () => {},
    now: () => clock.now(),
    beforeDelivery: () => deadlines.check(),
    patterns: metrics.patterns,
    events: {
      delivered() {},
      reset() {},
      sent() {},
      failed() {},
      outboundFull: () => {
        outboundFull++;
        metrics.limitsMet.outbound_bytes.inc();
      },
    },
  });
  let sequence = 0;
  let frontier: Position = { lsn: 100, index: 1 };
  /** Where the next commit ends. LSNs of whole commits are multiples of 8. */
  const nextLsn = () => frontier.lsn - (frontier.lsn % 8) + 8;
  if (connected) {
    hub.follow({
      epoch: EPOCH,
      get frontier() {
        return frontier;
      },
      get headText() {
        return formatPosition(EPOCH, frontier.lsn, frontier.index);
      },
      openXid: 0,
      isOpen: () => false,
      get wholeSequence() {
        return sequence;
      },
    });
  } else {
    const nowhere = { frontier: { lsn: 0, index: 0 }, headText: '', wholeSequence: 0, openXid: 0 };
    hub.follow({ epoch: '', ...nowhere, isOpen: () => false });
  }
  const access = new ScriptedAccess();
  const published: Publication[] = [];
  const log: string[] = [];
  const logger = createLogger('debug', { write: (line) => void log.push(line) });
  const served = await ServedCertificate.load(settings, logger);
  const peers = new Peers(new PeerSwitch());
  const presence = new Presence({ peers, clock, graceSeconds: 0 });
  const gateway = new Gateway({
    settings,
    certificate: served,
    tokens: createTokens(settings, { now: () => clock.now() }),
    access,
    rights: access,
    exchange: new Exchange(hub, peers),
    presence,
    signOuts: new SignOuts(peers),
    subscriptions: new SubscriptionCounts({ local: hub, peers, others: () => presence.others(), clock }),
    // Its definitions may change at any time.
    channels: { version: Number.NaN, resolve, patternOf, known: undefined, meant: () => 'room:{id}' },
    fanout: hub,
    frames,
    events: eventEncodings(new EncodedForms(1_000_000), () => EPOCH),
    pusherEncodings: new PusherEncodings(deflation),
    publish: async (messages) => void published.push(...messages),
    metrics,
    logger,
    bundleFile: '/nowhere/sno.js',
    deadlines,
    ...rest,
  });
  const { port } = await gateway.listen();
  if (options.isStarting !== true) gateway.open();
  const url = `wss://127.0.0.1:${port}`;
  const clients: Client[] = [];
  const connect = ({ plain = false, ...connectOptions }: ConnectOptions = {}) => {
    const client = new Client(`${plain ? url.replace('wss:', 'ws:') : url}/v1`, {
      ca: certificate.cert,
      ...connectOptions,
    });
    clients.push(client);
    return client;
  };
  return {
    gateway,
    hub,
    access,
    published,
    metrics,
    certificate,
    url,
    port,
    log,
    get outboundFull() {
      return outboundFull;
    },
    connect,
    async welcomed(connectOptions) {
      const client = connect(connectOptions);
      client.send({ type: 'hello' });
      await client.receive('welcome');
      return client;
    },
    openClients: () => clients.filter(({ socket }) => socket.readyState === WebSocket.OPEN).length,
    publish(channel, data) {
      const position = { lsn: nextLsn(), index: 1 };
      const payload = payloadOf(
        JSON.stringify({
          type: 'message',
          channel,
          position: formatPosition(EPOCH, position.lsn, 1),
          event: 'e',
          data,
        }),
      );
      sequence++;
      frontier = position;
      hub.append({
        part: 0,
        firstSequence: sequence,
        xid: 1,
        after: 100,
        entries: [{ channel, pattern: 'room:{id}', payload, xid: 1, sequence, ...position }],
        marks: [],
        committedAt: 0,
      });
      hub.flush();
    },
    revoke(channel, claim) {
      const mark = {
        pattern: 'room:{id}',
        kind: 'recheck',
        xid: 1,
        lsn: nextLsn(),
        index: 1,
        ...(claim === undefined ? {} : { claim }),
      } as const;
      sequence++;
      hub.append({
        part: 0,
        firstSequence: sequence,
        xid: 1,
        after: 100,
        entries: [],
        marks: [channel === undefined ? { ...mark, sequence } : { ...mark, channel, sequence }],
        committedAt: 0,
      });
      hub.flush();
    },
    async stop() {
      for (const client of clients) client.socket.terminate();
      await gateway.close();
      served?.stop();
      await certificate.remove();
    },
  };
}

type FrameOf<Type extends ServerFrame['type']> = Extract<ServerFrame, { readonly type: Type }>;

/** A websocket client that keeps the frames that it receives. */
export class Client {
  readonly socket: WebSocket;
  readonly frames: ServerFrame[] = [];
  pings = 0;
  pongs: string[] = [];
  /** Once closed. */
  closeCode: number | undefined;
  closeReason = '';
  /** Once the server refused the upgrade. */
  refusal: { readonly status: number; readonly body: string } | undefined;
  #read = 0;
  readonly #unsent: (string | Buffer)[] = [];

  constructor(url: string, options: ConnectOptions) {
    this.socket = new WebSocket(url, options);
    this.socket.on('open', () => {
      for (const frame of this.#unsent) this.socket.send(frame);
    });
    this.socket.on('message', (data) => this.frames.push(JSON.parse(String(data)) as ServerFrame));
    this.socket.on('ping', () => this.pings++);
    this.socket.on('pong', (data) => this.pongs.push(String(data)));
    this.socket.on('close', (code, reason) => {
      this.closeCode = code;
      this.closeReason = String(reason);
    });
    // The close code shows what went wrong.
    this.socket.on('error', () => {});
    this.socket.on('unexpected-response', (_request, response) => {
      void (async () => {
        let body = '';
        for await (const chunk of response) body += chunk;
        this.refusal = { status: response.statusCode ?? 0, body };
      })();
    });
  }

  send(frame: unknown): void {
    this.sendRaw(typeof frame === 'string' || Buffer.isBuffer(frame) ? frame : JSON.stringify(frame));
  }

  sendRaw(frame: string | Buffer): void {
    if (this.socket.readyState === WebSocket.CONNECTING) this.#unsent.push(frame);
    else this.socket.send(frame);
  }

  /** Returns the next frame, which must be of this type. */
  async receive<Type extends ServerFrame['type']>(type: Type): Promise<FrameOf<Type>> {
    const frame = await until(() => this.frames[this.#read], `a frame of type ${type}; closed: ${this.closeCode}`);
    this.#read++;
    if (frame.type !== type) throw new Error(`expected ${type}, got ${JSON.stringify(frame)}`);
    return frame as FrameOf<Type>;
  }

  async closed(): Promise<number> {
    return until(() => this.closeCode, 'the client is closed');
  }

  async opened(): Promise<void> {
    if (this.socket.readyState === WebSocket.CONNECTING) await once(this.socket, 'open');
  }
}
