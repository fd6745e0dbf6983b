/**
 * A crowd of subscribers in a separate process, over raw TLS sockets. They behave as good and bad
 * clients do, for little processor time. Each checks that the rows' `n` count up without a gap.
 *
 * Argument: the service's port. Lines of JSON on stdin are commands (`Order`). Each is answered by
 * a line on stdout (`Answer`).
 */
import { createInterface } from 'node:readline';
import { connect, type TLSSocket } from 'node:tls';
import { constants, inflateRawSync } from 'node:zlib';
import { clientFrame, upgradeRequest } from '../gateway/raw-socket.ts';
import type { Answer, Group, Order, Report } from './crowd.ts';
import { FrameCutter, type Piece } from './frame-cutter.ts';

/** Maximum wait before a client reconnects, and before it asks again after a reset. */
const RETRY_MS = 500;
const REACH_CHECK_MS = 20;
const PONG = clientFrame('', { opcode: 10 });
const OPCODE = { text: 1, ping: 9 } as const;
const HANDSHAKE_END = Buffer.from('\r\n\r\n');
const DEFLATE = { 'sec-websocket-extensions': 'permessage-deflate; client_no_context_takeover' };
const FLUSH_TAIL = Buffer.from([0x00, 0x00, 0xff, 0xff]);

interface Frame {
  readonly type: string;
  readonly channel?: string;
  readonly position?: string;
  readonly recovered?: boolean;
  readonly reason?: string;
  readonly code?: string;
  readonly part?: number;
  readonly last?: boolean;
  readonly rows?: readonly { readonly data: { readonly n: number } }[];
  readonly events?: readonly { readonly data?: { readonly n: number } }[];
}

class Subscription {
  isAnswered = false;
  isLive = false;
  /** Position of the last whole commit. */
  position: string | undefined;
  /** The rows held are void. The client starts again with a snapshot, whatever its group does. */
  isVoid = false;
  /** The `n` of the newest row. Undefined while unknown. */
  held: number | undefined;
  /** Rows of the newest snapshot. */
  rows = 0;
}

class Crowd {
  readonly group: Group;
  readonly clients: Client[];
  readonly figures = {
    events: 0,
    gaps: 0,
    snapshots: 0,
    snapshotRows: 0,
    recovered: 0,
    cuts: 0,
    frameBytesMax: 0,
    deflated: 0,
    resets: {} as Record<string, number>,
    errors: {} as Record<string, number>,
  };
  #opened = 0;

  constructor(group: Group) {
    this.group = group;
    this.clients = Array.from({ length: group.clients }, (_, index) => new Client(this, index));
  }

  /** Opens all clients, `atOnce` at a time. */
  open(atOnce: number): void {
    this.#opened = 0;
    for (let count = 0; count < atOnce; count++) this.openNext();
  }

  openNext(): void {
    this.clients[this.#opened++]?.open();
  }

  get subscriptions(): Subscription[] {
    return this.clients.flatMap((client) => [...client.subscriptions.values()]);
  }

  report(): Report {
    const { subscriptions } = this;
    return {
      ...this.figures,
      answered: subscriptions.filter(({ isAnswered }) => isAnswered).length,
      live: subscriptions.filter(({ isLive }) => isLive).length,
    };
  }
}

class Client {
  readonly subscriptions = new Map<string, Subscription>();
  readonly #crowd: Crowd;
  readonly #isDeflating: boolean;
  #socket: TLSSocket | undefined;
  #isWanted = false;
  #isPaused = false;

  constructor(crowd: Crowd, index: number) {
    const { channel, channelsEach, channelCount } = crowd.group;
    this.#crowd = crowd;
    // every other client accepts compressed frames
    this.#isDeflating = index % 2 === 0;
    for (let count = 0; count < channelsEach; count++) {
      const number = ((index * channelsEach + count) % channelCount) + 1;
      this.subscriptions.set(channel.replace('{}', String(number)), new Subscription());
    }
  }

  /** Resumes after the last commit, or begins if there was none. */
  open(): void {
    this.#isWanted = true;
    const socket = connect({ port: port(), host: '127.0.0.1', rejectUnauthorized: false });
    const cutter = new FrameCutter((piece) => this.#take(piece));
    let head: Buffer | undefined = Buffer.alloc(0);
    this.#socket = socket;
    socket.once('secureConnect', () => {
      socket.write(
        Buffer.concat([
          Buffer.from(upgradeRequest('/v1', this.#isDeflating ? DEFLATE : {})),
          clientFrame('{"type":"hello"}'),
        ]),
      );
      socket.write(Buffer.concat([...this.subscriptions].map(([name, subscription]) => this.#ask(name, subscription))));
    });
    socket.on('data', (chunk: Buffer) => {
      let bytes = chunk;
      if (head !== undefined) {
        head = Buffer.concat([head, chunk]);
        const end = head.indexOf(HANDSHAKE_END);
        if (end === -1) return;
        bytes = head.subarray(end + HANDSHAKE_END.length);
        head = undefined;
      }
      cutter.push(bytes);
      this.#rest(socket);
    });
    socket.on('error', () => undefined);
    socket.once('close', () => this.#closed(socket));
    if (this.#isPaused) socket.pause();
  }

  cut(): void {
    this.#isWanted = false;
    this.#socket?.destroy();
  }

  pause(isPaused: boolean): void {
    this.#isPaused = isPaused;
    if (isPaused) this.#socket?.pause();
    else this.#socket?.resume();
  }

  leave(): void {
    for (const [channel, subscription] of this.subscriptions) {
      subscription.isLive = false;
      this.#socket?.write(clientFrame(JSON.stringify({ type: 'unsubscribe', channel })));
    }
  }

  /** A slow client rests after each read. */
  #rest(socket: TLSSocket): void {
    const { restMs } = this.#crowd.group;
    if (restMs === 0) return;
    socket.pause();
    setTimeout(() => !this.#isPaused && socket.resume(), restMs);
  }

  #ask(channel: string, { position, isVoid }: Subscription): Buffer {
    const snapshot = isVoid || this.#crowd.group.from === 'snapshot';
    const start = position === undefined ? (snapshot ? { snapshot } : {}) : { since: position };
    return clientFrame(JSON.stringify({ type: 'subscribe', channel, ...start }));
  }

  /** Asks for the channel's rows again, since the rows held are void. */
  #again(channel: string, subscription: Subscription): void {
    subscription.isLive = false;
    subscription.isVoid = true;
    subscription.position = undefined;
    subscription.held = undefined;
    const socket = this.#socket;
    setTimeout(() => socket?.write(this.#ask(channel, subscription)), Math.random() * RETRY_MS);
  }

  #closed(socket: TLSSocket): void {
    if (socket !== this.#socket) return;
    for (const subscription of this.subscriptions.values()) subscription.isLive = false;
    if (!this.#isWanted) return;
    this.#crowd.figures.cuts++;
    setTimeout(() => this.#isWanted && this.open(), Math.random() * RETRY_MS);
  }

  #take(piece: Piece): void {
    const { opcode, payload, length } = piece.isDeflated ? inflated(piece) : piece;
    if (opcode === OPCODE.ping) this.#socket?.write(PONG);
    if (opcode !== OPCODE.text) return;
    const { figures } = this.#crowd;
    figures.deflated += Number(piece.isDeflated);
    figures.frameBytesMax = Math.max(figures.frameBytesMax, length);
    const frame = payload.length === length ? (JSON.parse(payload.toString()) as Frame) : beginningOf(payload);
    const { channel = '' } = frame;
    const subscription = this.subscriptions.get(channel);
    if (subscription !== undefined) this.#told(channel, subscription, frame);
    else if (frame.type === 'heartbeat') this.#heartbeat(frame.position as string);
  }

  #heartbeat(position: string): void {
    for (const subscription of this.subscriptions.values()) if (subscription.isLive) subscription.position = position;
  }

  #told(channel: string, subscription: Subscription, frame: Frame): void {
    const { figures } = this.#crowd;
    switch (frame.type) {
      case 'snapshot':
        if (frame.part === 1) subscription.rows = 0;
        subscription.rows += frame.rows?.length ?? 0;
        for (const { data } of frame.rows ?? []) subscription.held = Math.max(subscription.held ?? 0, data.n);
        if (frame.last !== true) return;
        figures.snapshots++;
        figures.snapshotRows += subscription.rows;
        return;
      case 'subscribed':
        subscription.position = frame.position;
        subscription.isLive = true;
        if (frame.recovered === true) figures.recovered++;
        return this.#answered(subscription);
      case 'changes':
        for (const { data } of frame.events ?? []) this.#count(subscription, data?.n);
        if (frame.last !== false) subscription.position = frame.position;
        return;
      case 'reset':
        add(figures.resets, frame.reason as string);
        return this.#again(channel, subscription);
      case 'error':
        add(figures.errors, frame.code as string);
        return this.#again(channel, subscription);
    }
  }

  #count(subscription: Subscription, n: number | undefined): void {
    const { figures } = this.#crowd;
    figures.events++;
    if (n === undefined) return;
    if (subscription.held !== undefined && n !== subscription.held + 1) figures.gaps++;
    subscription.held = n;
  }

  #answered(subscription: Subscription): void {
    if (subscription.isAnswered) return;
    subscription.isAnswered = true;
    if ([...this.subscriptions.values()].every(({ isAnswered }) => isAnswered)) this.#crowd.openNext();
  }
}

function add(counts: Record<string, number>, name: string): void {
  counts[name] = (counts[name] ?? 0) + 1;
}

/** Decompresses one frame by itself: it does not depend on earlier frames. */
function inflated(piece: Piece): Piece {
  const all = Buffer.concat([piece.payload, FLUSH_TAIL]);
  const payload = inflateRawSync(all, { finishFlush: constants.Z_SYNC_FLUSH });
  return { ...piece, payload, length: payload.length };
}

/**
 * Reads the beginning of a frame too large to be kept, up to the large value. The frame has one row
 * or event.
 */
function beginningOf(payload: Buffer): Frame {
  const text = payload.toString('latin1');
  const member = (name: string) => new RegExp(`"${name}":"?([^",}]+)`).exec(text)?.[1];
  const row = { data: { n: Number(member('n')) } };
  return {
    type: member('type') as string,
    channel: member('channel') as string,
    position: member('position') as string,
    part: 1,
    last: true,
    ...(member('type') === 'snapshot' ? { rows: [row] } : { events: [row] }),
  };
}

const crowds = new Map<string, Crowd>();
const port = () => Number(process.argv[2]);

function crowdOf(name: string): Crowd {
  const crowd = crowds.get(name);
  if (crowd === undefined) throw new Error(`there is no crowd ${name}`);
  return crowd;
}

/** Calls `answer` once the condition holds. */
function when(condition: () => boolean, answer: () => void): void {
  const timer = setInterval(() => {
    if (!condition()) return;
    clearInterval(timer);
    answer();
  }, REACH_CHECK_MS);
}

function obey(order: Order, answer: () => void): void {
  if (order.do === 'create') crowds.set(order.crowd, new Crowd(order.group));
  const crowd = crowdOf(order.crowd);
  const all = (state: (subscription: Subscription) => boolean) => () => crowd.subscriptions.every(state);
  switch (order.do) {
    case 'create':
    case 'report':
      return answer();
    case 'open':
      crowd.open(order.atOnce);
      return answer();
    case 'live':
      return when(
        all(({ isLive }) => isLive),
        answer,
      );
    case 'reach':
      return when(
        all(({ isLive, held }) => isLive && held === order.n),
        answer,
      );
    case 'pause':
    case 'resume':
      for (const client of crowd.clients) client.pause(order.do === 'pause');
      return answer();
    case 'cut':
    case 'leave':
      for (const client of crowd.clients) client[order.do]();
      return answer();
  }
}

createInterface({ input: process.stdin })
  .on('line', (line) => {
    const order = JSON.parse(line) as Order;
    const answer = (): Answer => ({ order: order.order, report: crowdOf(order.crowd).report() });
    obey(order, () => process.stdout.write(`${JSON.stringify(answer())}\n`));
  })
  // the parent process has ended
  .on('close', () => process.exit(0));
