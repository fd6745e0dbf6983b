/** One worker, seen from main: what waits for it, what it counts against the limits, and how it is. */
import type { Worker } from 'node:cluster';
import type { Socket } from 'node:net';
import { SnoError } from '../errors.ts';
import type { Admission } from '../gateway/admission.ts';
import type { MetricValues } from '../metrics.ts';
import type { Taker } from './acceptor.ts';
import type { FromWorker, ToWorker } from './wire.ts';

export interface MemberOptions {
  /** Counts the connections of all. */
  readonly admission: Admission;
  /** It takes the next connection. */
  readonly onFree: (member: Member) => void;
  /** It has taken something of what waited for it. */
  readonly onTaken: () => void;
}

/** How it ended. */
export interface Exit {
  readonly code: number | null;
  readonly signal: string | null;
  /** Nobody ended it, and it did not say what kept it from serving. */
  readonly isBug: boolean;
}

/** How long it may take to say what it has measured; later the last it said counts. */
const MEASURE_MS = 2_000;
const PIECE_BYTES = 1024 ** 2;

export class Member implements Taker {
  /** Channels that somebody is subscribed to. */
  readonly holds = new Set<string>();
  /** Resolves when it hears what it is sent, rejects where it ends before. */
  readonly ready: Promise<void>;
  readonly ended: Promise<Exit>;
  isListening = false;
  /** It said what kept it from serving. */
  #hasFailed = false;
  /** Whether it lets clients in. */
  isOpen = false;
  /** Whether it gets the stream. */
  isFollowing = false;
  /** Resolves when it takes connections, rejects with what keeps it from that. */
  readonly #listening: Promise<void>;
  readonly #worker: Worker;
  readonly #options: MemberOptions;
  /** By address, how many connections it has. */
  readonly #entered = new Map<string, number>();
  #waitingBytes = 0;
  /** Checks in a row between which it took nothing of what waited. */
  #stalledChecks = 0;
  #hasTaken = true;
  #silentChecks = 0;
  #holdsHeard = 0;
  #values: MetricValues = [];
  #measures = 0;
  readonly #measuring = new Map<number, () => void>();
  #onReady: (error?: SnoError) => void = () => undefined;
  #onListening: (error?: SnoError) => void = () => undefined;
  #onOpened: () => void = () => undefined;

  constructor(worker: Worker, options: MemberOptions) {
    this.#worker = worker;
    this.#options = options;
    this.ready = new Promise((resolve, reject) => {
      this.#onReady = (error) => (error === undefined ? resolve() : reject(error));
    });
    this.ready.catch(() => undefined);
    this.#listening = new Promise((resolve, reject) => {
      this.#onListening = (error) => (error === undefined ? resolve() : reject(error));
    });
    this.#listening.catch(() => undefined);
    worker.on('message', (message: FromWorker) => this.#hear(message));
    this.ended = new Promise((resolve) => {
      const end = (code: number | null, signal: string | null) => {
        this.isOpen = false;
        this.isFollowing = false;
        this.#waitingBytes = 0;
        for (const [address, count] of this.#entered)
          for (let left = count; left > 0; left--) options.admission.leave(address);
        const failed = new SnoError('worker_failed', `a worker ended with ${signal ?? code} before it listened`);
        this.#onReady(failed);
        this.#onListening(failed);
        this.#onOpened();
        for (const answered of this.#measuring.values()) answered();
        resolve({ code, signal, isBug: signal === null && code !== null && !this.#hasFailed });
      };
      // what it said last may come after it has ended, but not after its channel has
      worker.once('exit', (code: number | null, signal: string | null) => {
        if (worker.isConnected()) worker.once('disconnect', () => end(code, signal));
        else end(code, signal);
      });
      // one that the system could not start does not exit; else it is its channel that breaks, since it ends
      worker.on('error', () => this.pid === undefined && end(null, null));
    });
  }

  get pid(): number | undefined {
    return this.#worker.process.pid;
  }

  /** Bytes of the stream that it has not taken. */
  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  /** How many checks in a row it has taken nothing of what waits. */
  get stalledChecks(): number {
    return this.#stalledChecks;
  }

  /**
   * To be called from time to time. Not the clock is asked for how long it takes nothing or says nothing, since this process too may have
   * been kept from hearing of it.
   */
  check(): void {
    this.#stalledChecks = this.#hasTaken || this.#waitingBytes === 0 ? 0 : this.#stalledChecks + 1;
    this.#hasTaken = false;
    this.#silentChecks++;
  }

  /** In how many checks in a row it has not been heard of. */
  get silentChecks(): number {
    return this.#silentChecks;
  }

  /** What it counted until it was heard last: gauges are over with it. */
  get counters(): MetricValues {
    return this.#values.filter(({ type }) => String(type) !== 'gauge');
  }

  send(message: ToWorker, bytes = 0): void {
    if (!this.#worker.isConnected()) return;
    // it had nothing to take until now
    if (this.#waitingBytes === 0) this.#hasTaken = true;
    this.#waitingBytes += bytes;
    // an error is that of a channel whose worker ends
    this.#worker.process.send(message, undefined, undefined, () => {
      if (bytes === 0) return;
      this.#waitingBytes = Math.max(0, this.#waitingBytes - bytes);
      this.#hasTaken = true;
      this.#stalledChecks = 0;
      this.#options.onTaken();
    });
  }

  /** In pieces, so that one that gets on with a large turn is seen to. */
  turn(bytes: Uint8Array): void {
    const holdsHeard = this.#holdsHeard;
    for (let start = 0; start < bytes.length; start += PIECE_BYTES) {
      const piece = bytes.subarray(start, start + PIECE_BYTES);
      const isLast = start + PIECE_BYTES >= bytes.length;
      this.send({ kind: 'turn', bytes: piece, isLast, holdsHeard }, piece.length);
    }
  }

  /** Has it take connections, once; rejects with what keeps it from that. */
  listen(): Promise<void> {
    if (!this.isListening) this.send({ kind: 'listen' });
    return this.#listening;
  }

  /** Has it let clients in. Resolves also where it ends before. */
  open(): Promise<void> {
    return new Promise((resolve) => {
      this.#onOpened = resolve;
      this.send({ kind: 'open' });
    });
  }

  take(socket: Socket): boolean {
    if (!this.#worker.isConnected()) return false;
    // where it ends meanwhile, Node closes the connection
    this.#worker.process.send({ kind: 'socket' } satisfies ToWorker, socket, undefined, () => undefined);
    return true;
  }

  /** What it has measured until now, or until it was heard last. */
  async measure(): Promise<MetricValues> {
    const id = ++this.#measures;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, MEASURE_MS);
      this.#measuring.set(id, () => {
        clearTimeout(timer);
        resolve();
      });
      this.send({ kind: 'measure', id });
    });
    this.#measuring.delete(id);
    return this.#values;
  }

  kill(): void {
    this.#worker.process.kill('SIGKILL');
  }

  #hear(message: FromWorker): void {
    this.#silentChecks = 0;
    switch (message.kind) {
      case 'ready':
        return this.#onReady();
      case 'listening':
        this.isListening = true;
        this.#onListening();
        return this.#options.onFree(this);
      case 'taken':
        return this.#options.onFree(this);
      case 'failed':
        this.#hasFailed = true;
        return this.#onListening(new SnoError(message.code, message.message));
      case 'opened':
        this.isOpen = true;
        return this.#onOpened();
      case 'enter': {
        const { id, address } = message;
        const excess = this.#options.admission.enter(address);
        if (excess === undefined) this.#entered.set(address, (this.#entered.get(address) ?? 0) + 1);
        return this.send({ kind: 'admitted', id, excess });
      }
      case 'leave': {
        const left = (this.#entered.get(message.address) ?? 1) - 1;
        if (left === 0) this.#entered.delete(message.address);
        else this.#entered.set(message.address, left);
        return this.#options.admission.leave(message.address);
      }
      case 'hold':
        this.#holdsHeard++;
        this.holds.add(message.channel);
        return;
      case 'unhold':
        this.#holdsHeard++;
        this.holds.delete(message.channel);
        return;
      case 'measured':
        this.#values = message.values;
        this.#measuring.get(message.id)?.();
        return;
    }
  }
}
