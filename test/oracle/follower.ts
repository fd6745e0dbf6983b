/**
 * A subscriber that always subscribes again when its subscription ends: with a snapshot, or by its
 * position if the connection broke. It computes its rows by docs/protocol.md alone.
 */
import { WebSocket } from 'ws';
import type { Frame } from './frame.ts';
import { Held } from './held.ts';

const RETRY_MS = 50;

/** State of a subscription: requested, live, or ended by the server. */
type Standing = 'asked' | 'live' | 'ended';

const STANDING: Readonly<Record<string, Standing>> = {
  snapshot: 'asked',
  subscribed: 'live',
  reset: 'ended',
  unsubscribed: 'ended',
  error: 'ended',
};

/**
 * The rows of one channel, and whether they must be right. `isLate`: Snö detects DDL some time
 * after its commit, so an event may not fit these rows if a reset follows soon.
 */
export class Followed extends Held {
  /** Number of resets and drops. */
  ends = 0;
  readonly #isLate: boolean;
  #standing: Standing = 'asked';
  /** Number of violations before the present rows began. */
  #known = 0;

  constructor(isLate: boolean) {
    super();
    this.#isLate = isLate;
  }

  get isLive(): boolean {
    return this.#standing === 'live';
  }

  override take(frame: Frame): void {
    if (frame.type === 'changes' && this.#standing === 'ended')
      this.violations.push(`changes at ${frame.position} after the subscription ended`);
    this.#standing = STANDING[frame.type] ?? this.#standing;
    if (this.#standing === 'ended') this.position = undefined;
    if (frame.type === 'snapshot' && frame.part === 1) this.#known = this.violations.length;
    if (frame.type === 'reset' || frame.type === 'unsubscribed') {
      this.ends++;
      if (this.#isLate) this.violations.splice(this.#known);
    }
    super.take(frame);
  }

  override disconnected(): void {
    super.disconnected();
    this.#standing = 'asked';
  }
}

export class Follower {
  readonly held: ReadonlyMap<string, Followed>;
  /** Number of messages received on the channel `end`. */
  readonly ends = new Set<string>();
  readonly #url: string;
  readonly #ca: string;
  #socket: WebSocket | undefined;
  #isClosed = false;
  readonly #timers = new Set<NodeJS.Timeout>();

  constructor(
    service: { readonly url: string; readonly certificate: { readonly cert: string } },
    channels: readonly string[],
    isLate = false,
  ) {
    this.#url = service.url;
    this.#ca = service.certificate.cert;
    this.held = new Map([...channels, 'end'].map((channel) => [channel, new Followed(isLate)]));
    this.#connect();
  }

  get isLive(): boolean {
    return [...this.held.values()].every(({ isLive }) => isLive);
  }

  violations(): string[] {
    return [...this.held].flatMap(([channel, { violations }]) => violations.map((text) => `${channel}: ${text}`));
  }

  close(): void {
    this.#isClosed = true;
    for (const timer of this.#timers) clearTimeout(timer);
    this.#socket?.terminate();
  }

  #connect(): void {
    const socket = new WebSocket(this.#url, { ca: this.#ca });
    this.#socket = socket;
    socket.on('error', () => undefined);
    socket.on('open', () => {
      this.#send({ type: 'hello' });
      for (const channel of this.held.keys()) this.#subscribe(channel);
    });
    socket.on('message', (data) => this.#take(JSON.parse(String(data)) as Frame));
    socket.on('close', () => {
      for (const held of this.held.values()) held.disconnected();
      this.#later(() => this.#connect());
    });
  }

  #subscribe(channel: string): void {
    const position = this.held.get(channel)?.position;
    const from = position === undefined ? { snapshot: channel !== 'end' } : { since: position };
    this.#send({ type: 'subscribe', channel, ...from });
  }

  #take(frame: Frame): void {
    if (frame.type === 'heartbeat') for (const held of this.held.values()) held.heartbeat(frame.position as string);
    if (frame.channel === 'end' && frame.type === 'message') this.ends.add(String(frame.data));
    const held = this.held.get(frame.channel ?? '');
    if (held === undefined) return;
    held.take(frame);
    if (frame.type === 'reset') this.#subscribe(frame.channel as string);
    if (frame.type === 'unsubscribed' || frame.type === 'error')
      this.#later(() => this.#subscribe(frame.channel as string));
  }

  #send(frame: unknown): void {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(frame));
  }

  #later(work: () => void): void {
    if (this.#isClosed) return;
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      work();
    }, RETRY_MS);
    this.#timers.add(timer);
  }
}
