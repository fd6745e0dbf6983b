/**
 * A deterministic world for the client, without time. The server keeps the protocol over a history
 * that it remembers. Frames move and timers fire only when told to, in any order.
 */
import { setImmediate } from 'node:timers/promises';
import type { Timers } from '../../src/client/index.ts';
import type { Socket } from '../../src/client/platform/socket.ts';
import { TICK_MS } from '../../src/client/wake.ts';
import type { ChangeEvent, ChangesFrame, ClientFrame, MessageFrame, ServerFrame } from '../../src/protocol.ts';

export interface Task {
  readonly id: number;
  readonly title: string;
}
export type Table = ReadonlyMap<number, Task>;

export interface Operation {
  readonly op: 'put' | 'delete' | 'truncate';
  readonly id: number;
  readonly title: string;
}

/** One commit or message of one channel. */
interface Entry {
  readonly channel: string;
  readonly sequence: number;
  readonly frames: readonly (ChangesFrame | MessageFrame)[];
  readonly table: Table;
}

/** A commit of which not all parts have been sent. */
interface OpenCommit {
  readonly channel: string;
  readonly table: Table;
  readonly chunks: readonly (readonly ChangeEvent<Task>[])[];
  readonly frames: ChangesFrame[];
}

const EMPTY: Table = new Map();

/** `<epoch>:<sequence>` of a whole commit; a part's has the part's number after it. */
const positionOf = (epoch: number, sequence: number, part?: number): string =>
  `${epoch}:${sequence}${part === undefined ? '' : `.${part}`}`;

export function sequenceOf(position: string | undefined): number {
  const match = /^\d+:(\d+)$/.exec(position ?? '');
  if (match === null) throw new Error(`not the position of a whole commit: ${position}`);
  return Number(match[1]);
}

export class Server {
  readonly log: Entry[] = [];
  readonly peers = new Set<Peer>();
  /** All frames of all clients so far. */
  readonly said: ClientFrame[] = [];
  open: OpenCommit | undefined;
  head = 0;
  epoch = 1;
  /** Sequence number up to which entries can no longer be replayed. */
  floor = 0;
  tokenNumber = 1;
  /** Number of commits of the channel that the next snapshots do not see. */
  snapshotLag = 0;
  /** Channels whose view is dropped. */
  readonly gone = new Set<string>();
  /** Number of subscribes that will be answered with try_again. */
  troubles = 0;

  get token(): string {
    return `token-${this.tokenNumber}`;
  }

  entries(channel: string, after: number): Entry[] {
    return this.log.filter((entry) => entry.channel === channel && entry.sequence > after);
  }

  /** The rows of a channel as of a sequence number. */
  tableAt(channel: string, sequence: number): Table {
    return this.log.findLast((entry) => entry.channel === channel && entry.sequence <= sequence)?.table ?? EMPTY;
  }

  /**
   * Begins a commit and sends its first part. The others follow one by one, or all before the next
   * commit.
   */
  commit(channel: string, operations: readonly Operation[], partCount: number): void {
    this.finish();
    const table = new Map(this.tableAt(channel, this.head));
    const events = operations.map((operation) => applyTo(table, operation));
    const perPart = Math.ceil(events.length / partCount);
    const chunks = Array.from({ length: partCount }, (_, part) => events.slice(part * perPart, (part + 1) * perPart));
    this.open = { channel, table, chunks, frames: [] };
    this.sendPart();
  }

  /** Sends the next part of the open commit. */
  sendPart(): void {
    if (this.open === undefined) return;
    const { channel, chunks, frames, table } = this.open;
    const last = frames.length === chunks.length - 1;
    if (last) this.head += 1;
    const frame: ChangesFrame = {
      type: 'changes',
      channel,
      position: positionOf(this.epoch, this.head, last ? undefined : frames.length + 1),
      lsn: `0/${this.head}`,
      xid: this.head,
      committed_at: '2026-11-23T10:00:00.123456Z',
      events: chunks[frames.length] ?? [],
      ...(chunks.length > 1 ? { part: frames.length + 1, last } : {}),
    };
    frames.push(frame);
    if (last) {
      this.log.push({ channel, sequence: this.head, frames, table });
      this.open = undefined;
    }
    this.#tell(channel, frame);
  }

  finish(): void {
    while (this.open !== undefined) this.sendPart();
  }

  /** Position of the last whole commit, as heads and heartbeats tell it. */
  get here(): string {
    return positionOf(this.epoch, this.head);
  }

  /** The parts already sent of an open commit of the channel. */
  partsOf(channel: string): readonly ChangesFrame[] {
    return this.open?.channel === channel ? this.open.frames : [];
  }

  publish(channel: string): void {
    this.head += 1;
    const position = positionOf(this.epoch, this.head);
    const frame: MessageFrame = { type: 'message', channel, position, event: 'wave', data: this.head };
    this.log.push({ channel, sequence: this.head, frames: [frame], table: this.tableAt(channel, this.head) });
    this.#tell(channel, frame);
  }

  heartbeat(): void {
    for (const peer of this.peers) if (peer.welcomed) peer.say({ type: 'heartbeat', position: this.here });
  }

  /** A restart that lost the journal: a new epoch, all connections closed. */
  restart(): void {
    this.finish();
    this.epoch += 1;
    this.floor = this.head;
    for (const peer of [...this.peers]) peer.cut(1006);
  }

  /** A migration drops the channel's view, or creates it again. */
  toggle(channel: string): void {
    if (this.gone.delete(channel)) return;
    this.gone.add(channel);
    for (const peer of this.peers)
      if (peer.live.delete(channel)) peer.say({ type: 'unsubscribed', channel, code: 'channel_dropped' });
  }

  reset(channel: string): void {
    for (const peer of this.peers)
      if (peer.live.delete(channel)) peer.say({ type: 'reset', channel, reason: 'lagging' });
  }

  expireTokens(): void {
    this.tokenNumber += 1;
    for (const peer of this.peers) peer.expire();
  }

  #tell(channel: string, frame: ServerFrame): void {
    for (const peer of this.peers) {
      if (peer.live.has(channel)) peer.say(frame);
      peer.answerReached();
    }
  }
}

function applyTo(table: Map<number, Task>, { op, id, title }: Operation): ChangeEvent<Task> {
  const key = { id };
  if (op === 'truncate') {
    table.clear();
    return { op: 'truncate' };
  }
  if (op === 'delete') {
    table.delete(id);
    return { op: 'delete', key };
  }
  const data = { id, title };
  const known = table.has(id);
  table.set(id, data);
  return { op: known ? 'update' : 'insert', key, data };
}

/** The server's side of a connection, and the network between: two queues of frames. */
export class Peer {
  readonly live = new Set<string>();
  readonly toServer: string[] = [];
  readonly toClient: string[] = [];
  /** Commits that the client waits for. */
  readonly asked = new Set<string>();
  welcomed = false;
  readonly #server: Server;
  readonly #socket: FakeSocket;
  #token: string | undefined;

  constructor(server: Server, socket: FakeSocket) {
    this.#server = server;
    this.#socket = socket;
    server.peers.add(this);
  }

  say(frame: ServerFrame): void {
    this.toClient.push(JSON.stringify(frame));
  }

  /** Breaks the connection and drops the frames under way. */
  cut(code: number): void {
    this.#server.peers.delete(this);
    this.toClient.length = 0;
    this.#socket.broken(code);
  }

  expire(): void {
    for (const channel of this.live) this.say({ type: 'unsubscribed', channel, code: 'token_expired' });
    this.live.clear();
  }

  /**
   * Answers waits. Both an LSN and a transaction id of this server end with the commit's sequence
   * number.
   */
  answerReached(): void {
    for (const reached of this.asked) {
      if (Number(/\d+$/.exec(reached)?.[0]) > this.#server.head) continue;
      this.asked.delete(reached);
      this.say({ type: 'heartbeat', position: this.#server.here, reached });
    }
  }

  /** Delivers one frame to the server. */
  arriveAtServer(): void {
    const text = this.toServer.shift();
    if (text === undefined) return;
    const frame = JSON.parse(text) as ClientFrame;
    this.#server.said.push(frame);
    if (frame.type === 'hello') this.#greet(frame.token);
    else if (frame.type === 'token') this.#token = frame.token;
    else if (frame.type === 'subscribe') this.#subscribe(frame);
    else if (frame.type === 'unsubscribe') this.#unsubscribe(frame.channel);
    else if (frame.type === 'ping' && frame.reached !== undefined) {
      this.asked.add(frame.reached);
      this.answerReached();
    }
  }

  /** Delivers one frame to the client. */
  arriveAtClient(): void {
    const text = this.toClient.shift();
    if (text === undefined) return;
    this.#socket.received(text);
  }

  #greet(token: string | undefined): void {
    this.#token = token;
    this.welcomed = token === this.#server.token;
    if (this.welcomed) {
      this.say({ type: 'welcome', connection: 'c', epoch: String(this.#server.epoch), heartbeat_s: 25 });
    } else {
      this.cut(4401);
    }
  }

  #unsubscribe(channel: string): void {
    if (this.live.delete(channel)) this.say({ type: 'unsubscribed', channel, code: 'client' });
    else this.say({ type: 'error', code: 'not_subscribed', message: 'not subscribed', channel });
  }

  #subscribe({ channel, snapshot, since }: Extract<ClientFrame, { type: 'subscribe' }>): void {
    const refusal = this.#refusal(channel, since);
    if (refusal !== undefined) {
      this.say(refusal);
      return;
    }
    if (snapshot === true) this.#snapshot(channel);
    const recovered = since !== undefined && { recovered: true };
    this.say({ type: 'subscribed', channel, position: since ?? this.#server.here, ...recovered });
    if (since !== undefined) this.#replay(channel, sequenceOf(since));
    for (const frame of this.#server.partsOf(channel)) this.say(frame);
    this.live.add(channel);
  }

  #refusal(channel: string, since: string | undefined): ServerFrame | undefined {
    const { epoch, floor, token, troubles } = this.#server;
    const error = (code: string): ServerFrame => ({ type: 'error', code, message: code, channel });
    if (this.live.has(channel)) return error('already_subscribed');
    if (this.#token !== token) return error('token_expired');
    if (this.#server.gone.has(channel)) return error('channel_unavailable');
    if (troubles > 0) {
      this.#server.troubles -= 1;
      return error('try_again');
    }
    if (since === undefined) return undefined;
    if (!since.startsWith(`${epoch}:`)) return { type: 'reset', channel, reason: 'epoch_changed' };
    return sequenceOf(since) < floor ? { type: 'reset', channel, reason: 'position_too_old' } : undefined;
  }

  /**
   * Sends the rows of an earlier moment in two parts, then the commits that they do not contain.
   */
  #snapshot(channel: string): void {
    const unseen = this.#server.entries(channel, 0).slice(-this.#server.snapshotLag || Number.POSITIVE_INFINITY);
    const seen = (unseen[0]?.sequence ?? this.#server.head + 1) - 1;
    const rows = [...this.#server.tableAt(channel, seen).values()].map((data) => ({ key: { id: data.id }, data }));
    const half = rows.length >> 1;
    this.say({ type: 'snapshot', channel, rows: rows.slice(0, half), part: 1, last: false });
    this.say({ type: 'snapshot', channel, rows: rows.slice(half), part: 2, last: true });
    this.#replay(channel, seen);
  }

  #replay(channel: string, after: number): void {
    for (const { frames } of this.#server.entries(channel, after)) for (const frame of frames) this.say(frame);
  }
}

export class FakeSocket implements Socket {
  readyState = 0;
  onopen: ((event: never) => void) | null = null;
  onmessage: ((event: never) => void) | null = null;
  onclose: ((event: never) => void) | null = null;
  onerror: ((event: never) => void) | null = null;
  #peer: Peer | undefined;

  connected(server: Server): void {
    this.readyState = 1;
    this.#peer = new Peer(server, this);
    this.onopen?.({} as never);
  }

  received(data: string): void {
    this.onmessage?.({ data } as never);
  }

  broken(code: number): void {
    if (this.readyState === 3) return;
    this.readyState = 3;
    this.onclose?.({ code, reason: '' } as never);
  }

  send(data: string): void {
    this.#peer?.toServer.push(data);
  }

  close(): void {
    const peer = this.#peer;
    this.#peer = undefined;
    if (peer === undefined) this.broken(1006);
    else peer.cut(1000);
  }
}

/** Timers by the order in which they were set. */
class FakeTimers implements Timers {
  readonly pending = new Map<object, { readonly callback: () => void; readonly ms: number }>();

  set(callback: () => void, ms: number): unknown {
    const handle = {};
    this.pending.set(handle, { callback, ms });
    return handle;
  }

  clear(handle: unknown): void {
    this.pending.delete(handle as object);
  }

  /**
   * Fires the nth timer whose wait is at most `msMax`, except the clock check. Returns false if
   * no timer fits.
   */
  fire(nth: number, msMax = Number.POSITIVE_INFINITY): boolean {
    const due = [...this.pending].filter(([, { ms }]) => ms <= msMax && ms !== TICK_MS);
    const chosen = due[nth % Math.max(due.length, 1)];
    if (chosen === undefined) return false;
    this.pending.delete(chosen[0]);
    chosen[1].callback();
    return true;
  }
}

export class World {
  readonly server = new Server();
  readonly timers = new FakeTimers();
  readonly sockets: FakeSocket[] = [];
  readonly SocketClass: new (
    url: string,
  ) => FakeSocket;

  constructor() {
    const { sockets } = this;
    this.SocketClass = class extends FakeSocket {
      constructor() {
        super();
        sockets.push(this);
      }
    };
  }

  /** Opens the newest socket if it is still opening. */
  openSocket(): void {
    const socket = this.sockets.at(-1);
    if (socket?.readyState === 0) socket.connected(this.server);
  }

  /** Lets pending promises settle. */
  async settle(): Promise<void> {
    await setImmediate();
  }

  /** Moves frames and fires timers until nothing moves. Only waits of backoff are cut short. */
  async calm(backoffMsMax: number): Promise<void> {
    for (let isMoving = true; isMoving; ) {
      await this.settle();
      this.openSocket();
      // The client sends at the end of the turn.
      await this.settle();
      const peers = [...this.server.peers].filter((peer) => peer.toServer.length + peer.toClient.length > 0);
      for (const peer of peers) {
        peer.arriveAtServer();
        peer.arriveAtClient();
      }
      isMoving = peers.length > 0 || this.timers.fire(0, backoffMsMax) || this.sockets.at(-1)?.readyState === 0;
    }
    await this.settle();
  }
}
