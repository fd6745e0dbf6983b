/**
 * A subscriber that keeps every frame, and nothing of the client library: what it holds is worked out here, from
 * the protocol's text alone.
 */
import { WebSocket } from 'ws';

export interface Frame {
  readonly type: string;
  readonly channel?: string;
  readonly position?: string;
  readonly lsn?: string;
  readonly xid?: number;
  readonly rows?: readonly { readonly key: unknown; readonly data: unknown }[];
  readonly events?: readonly { readonly op: string; readonly key?: unknown; readonly data?: unknown }[];
  readonly reason?: string;
  readonly code?: string | number;
  readonly recovered?: boolean;
  readonly last?: boolean;
  readonly part?: number;
  readonly data?: unknown;
  readonly event?: string;
}

/** What is held of one channel, and what came of it. */
export class Held {
  rows = new Map<string, string>();
  /** Every changes frame, in order of arrival, since the last snapshot or reset. */
  readonly changes: Frame[] = [];
  readonly resets: string[] = [];
  snapshots = 0;
  subscribed = 0;
  /** Of the `subscribed` that began what is held now. */
  from: string | undefined;
  /** Where to resume: the last whole commit, or later. */
  position: string | undefined;
  /** Keys that the first snapshot had. */
  initial: ReadonlySet<string> = new Set();
  violations: string[] = [];
  #parts: Frame[] = [];

  take(frame: Frame): void {
    switch (frame.type) {
      case 'snapshot':
        if (frame.part === 1) {
          this.rows.clear();
          this.changes.length = 0;
          this.position = undefined;
        }
        for (const { key, data } of frame.rows ?? []) this.rows.set(JSON.stringify(key), JSON.stringify(data));
        if (frame.last === true) {
          this.snapshots++;
          this.initial = new Set(this.rows.keys());
        }
        return;
      case 'subscribed':
        this.subscribed++;
        if (frame.recovered !== true) this.from = frame.position;
        this.position = frame.position;
        return;
      case 'changes':
        return this.#change(frame);
      case 'reset':
        this.resets.push(frame.reason as string);
        this.position = undefined;
        this.#parts = [];
        return;
      case 'message':
        // not in the middle of a commit
        if (this.#parts.length === 0) this.position = frame.position;
        return;
    }
  }

  heartbeat(position: string): void {
    if (this.position !== undefined && this.#parts.length === 0) this.position = position;
  }

  /** The connection is gone, and with it the parts of a commit that is not whole. */
  disconnected(): void {
    this.#parts = [];
  }

  #change(frame: Frame): void {
    if (frame.part !== undefined) {
      if (frame.part !== this.#parts.length + 1) this.violations.push(`part ${frame.part} after ${this.#parts.length}`);
      this.#parts.push(frame);
      if (frame.last !== true) return;
    }
    const parts = frame.part === undefined ? [frame] : this.#parts.splice(0);
    const previous = this.changes.at(-1);
    if (previous !== undefined && compare(previous.position as string, frame.position as string) >= 0) {
      this.violations.push(`position ${frame.position} after ${previous.position}`);
    }
    if (this.position !== undefined) this.position = frame.position;
    const whole = { ...frame, events: parts.flatMap(({ events }) => events ?? []) };
    this.changes.push(whole);
    for (const event of whole.events) this.#apply(event);
  }

  #apply({ op, key, data }: NonNullable<Frame['events']>[number]): void {
    const id = JSON.stringify(key);
    if (op === 'truncate') this.rows.clear();
    else if (op === 'delete') {
      if (!this.rows.delete(id) && this.snapshots > 0) this.violations.push(`delete of a row that is not held: ${id}`);
    } else {
      if (op === 'insert' && this.rows.has(id) && this.snapshots > 0)
        this.violations.push(`insert of a row that is held: ${id}`);
      if (op === 'update' && !this.rows.has(id) && this.snapshots > 0)
        this.violations.push(`update of a row that is not held: ${id}`);
      this.rows.set(id, JSON.stringify(data));
    }
  }
}

/** Positions, as this server writes them: `epoch:high/low:index`. */
export function compare(a: string, b: string): number {
  const [, lsnA, indexA] = a.split(':') as [string, string, string];
  const [, lsnB, indexB] = b.split(':') as [string, string, string];
  const difference = lsnValue(lsnA) - lsnValue(lsnB);
  return difference !== 0n ? (difference < 0n ? -1 : 1) : Number(indexA) - Number(indexB);
}

export function lsnValue(lsn: string): bigint {
  const [high, low] = lsn.split('/') as [string, string];
  return (BigInt(`0x${high}`) << 32n) | BigInt(`0x${low}`);
}

export interface SubscriberOptions {
  readonly url: string;
  readonly ca: () => string;
  readonly token: string;
  readonly channels: readonly string[];
  readonly snapshot: boolean;
  /** Whether to connect again, and resume, when the connection breaks. */
  readonly reconnect?: boolean;
}

export class Subscriber {
  readonly held = new Map<string, Held>();
  readonly frames: Frame[] = [];
  readonly errors: Frame[] = [];
  readonly closes: number[] = [];
  connections = 0;
  readonly #options: SubscriberOptions;
  #socket: WebSocket | undefined;
  #isClosed = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: SubscriberOptions) {
    this.#options = options;
    for (const channel of options.channels) this.held.set(channel, new Held());
    this.#connect();
  }

  get snapshot(): boolean {
    return this.#options.snapshot;
  }

  /** Whether every channel has been said to be subscribed on this connection. */
  get isLive(): boolean {
    return [...this.held.values()].every(({ subscribed }) => subscribed >= this.connections) && this.connections > 0;
  }

  violations(): string[] {
    return [...this.held].flatMap(([channel, held]) => held.violations.map((text) => `${channel}: ${text}`));
  }

  /** Loses the connection, in the middle of whatever comes. */
  cut(): void {
    this.#socket?.terminate();
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#socket?.terminate();
  }

  #connect(): void {
    const socket = new WebSocket(this.#options.url, { ca: this.#options.ca() });
    this.#socket = socket;
    socket.on('error', () => undefined);
    socket.on('open', () => {
      this.connections++;
      this.#send({ type: 'hello', token: this.#options.token });
      for (const [channel, held] of this.held) {
        held.subscribed = this.connections - 1;
        this.#subscribe(channel, held);
      }
    });
    socket.on('message', (data) => this.#take(JSON.parse(String(data)) as Frame));
    socket.on('close', (code) => {
      this.closes.push(code);
      for (const held of this.held.values()) held.disconnected();
      if (this.#options.reconnect === true && !this.#isClosed) this.#timer = setTimeout(() => this.#connect(), 50);
    });
  }

  #subscribe(channel: string, held: Held): void {
    if (held.position !== undefined) this.#send({ type: 'subscribe', channel, since: held.position });
    else this.#send({ type: 'subscribe', channel, ...(this.#options.snapshot ? { snapshot: true } : {}) });
  }

  #send(frame: unknown): void {
    this.#socket?.send(JSON.stringify(frame));
  }

  #take(frame: Frame): void {
    this.frames.push(frame);
    if (frame.type === 'error') this.errors.push(frame);
    if (frame.type === 'heartbeat') for (const held of this.held.values()) held.heartbeat(frame.position as string);
    const held = this.held.get(frame.channel ?? '');
    if (held === undefined) return;
    held.take(frame);
    if (frame.type === 'reset') this.#subscribe(frame.channel as string, held);
  }
}
