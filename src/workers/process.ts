/**
 * One worker as seen from main: its backlog, its connections counted against the limits, and its
 * health.
 */
import type { Worker } from 'node:cluster';
import { randomUUID } from 'node:crypto';
import type { Socket } from 'node:net';
import { SnoError } from '../errors.ts';
import type { Admission } from '../gateway/accept/admission.ts';
import type { MetricValues } from '../metrics/metrics.ts';
import type { PeerPort, PeerSwitch } from '../peers/peer-switch.ts';
import { endedMessage } from '../presence/presence.ts';
import type { AnswerTo, GatewayAnswer, GatewayQuestion } from '../roles/inspect/questions.ts';
import type { WorkerView } from '../roles/inspect/view.ts';
import type { ConnectionTaker } from './dispatcher.ts';
import type { FromWorker, ToWorker } from './wire.ts';

export interface WorkerProcessOptions {
  /** The worker's number from 1. */
  readonly number: number;
  /** Counts the connections of all workers. */
  readonly admission: Admission;
  /** Called when the worker is ready for the next connection. */
  readonly onFree: (worker: WorkerProcess) => void;
  /** Called when the worker has received a part of its backlog. */
  readonly onTaken: () => void;
  /** Passes messages between the processes that serve clients. */
  readonly peers: PeerSwitch;
}

/** How a worker ended. */
export interface Exit {
  readonly code: number | null;
  readonly signal: string | null;
  /** True if the worker was not killed and did not report why it could not serve. */
  readonly isBug: boolean;
}

/** How long a worker may take to report its metrics before its last report is used, in ms. */
const MEASURE_MS = 2_000;
/** How long a worker may take to answer a question of the admin API, in ms. */
const ANSWER_MS = 2_000;

/** Maximum bytes that wait for a worker before messages of other processes are dropped. */
const PEERS_WAITING_BYTES_MAX = 4 * 1024 ** 2;

export class WorkerProcess implements ConnectionTaker {
  /** Channels with at least one subscription in this worker. */
  readonly retained = new Set<string>();
  /** Resolves when the worker can receive messages. Rejects if it ends before. */
  readonly ready: Promise<void>;
  readonly ended: Promise<Exit>;
  isListening = false;
  /** The worker reported why it could not serve. */
  #hasFailed = false;
  /** Whether it lets clients in. */
  isOpen = false;
  /** Whether it receives the stream. */
  isFollowing = false;
  /** Resolves when it accepts connections. Rejects with the error that prevents it. */
  readonly #listening: Promise<void>;
  readonly #worker: Worker;
  readonly #options: WorkerProcessOptions;
  /** Number of its connections by address. */
  readonly #entered = new Map<string, number>();
  #waitingBytes = 0;
  /** Consecutive checks without progress on its backlog. */
  #stalledChecks = 0;
  #hasTaken = true;
  #silentChecks = 0;
  #retainsReceived = 0;
  #values: MetricValues = [];
  #measures = 0;
  readonly #measuring = new Map<number, () => void>();
  #asked = 0;
  readonly #asking = new Map<number, (answer?: unknown) => void>();
  /** The worker's id among the processes that serve clients. */
  readonly peerId = randomUUID();
  readonly #peers: PeerPort;
  #onReady: (error?: SnoError) => void = () => undefined;
  #onListening: (error?: SnoError) => void = () => undefined;
  #onOpened: () => void = () => undefined;

  constructor(worker: Worker, options: WorkerProcessOptions) {
    this.#worker = worker;
    this.#options = options;
    this.#peers = options.peers.attach((message) => this.#tellOfPeer(message));
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
        this.#peers.send(endedMessage(this.peerId));
        this.#peers.detach();
        for (const [address, count] of this.#entered)
          for (let left = count; left > 0; left--) options.admission.leave(address);
        const failed = new SnoError('worker_failed', `a worker ended with ${signal ?? code} before it served clients`);
        this.#onReady(failed);
        this.#onListening(failed);
        this.#onOpened();
        for (const answered of this.#measuring.values()) answered();
        for (const answered of this.#asking.values()) answered();
        resolve({ code, signal, isBug: signal === null && code !== null && !this.#hasFailed });
      };
      // The worker's last messages may arrive after its exit, but not after its channel has closed.
      worker.once('exit', (code: number | null, signal: string | null) => {
        if (worker.isConnected()) worker.once('disconnect', () => end(code, signal));
        else end(code, signal);
      });
      // A process that the system could not start does not exit. Any other error is its channel
      // breaking because the worker ends.
      worker.on('error', () => this.pid === undefined && end(null, null));
    });
  }

  get pid(): number | undefined {
    return this.#worker.process.pid;
  }

  /** Bytes of the stream that the worker has not received. */
  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  /** Number of consecutive checks without progress on its backlog. */
  get stalledChecks(): number {
    return this.#stalledChecks;
  }

  /**
   * Called periodically. Checks are counted instead of time, since this process too may have been
   * blocked and not noticed progress.
   */
  check(): void {
    this.#stalledChecks = this.#hasTaken || this.#waitingBytes === 0 ? 0 : this.#stalledChecks + 1;
    this.#hasTaken = false;
    this.#silentChecks++;
  }

  /** Number of consecutive checks without a message from the worker. */
  get silentChecks(): number {
    return this.#silentChecks;
  }

  /** The metrics of its last report, without gauges, which end with the worker. */
  get counters(): MetricValues {
    return this.#values.filter(({ type }) => String(type) !== 'gauge');
  }

  send(message: ToWorker, bytes = 0): void {
    if (!this.#worker.isConnected()) return;
    // The worker had no backlog until now.
    if (this.#waitingBytes === 0) this.#hasTaken = true;
    this.#waitingBytes += bytes;
    // An error here means that the worker's channel closed because the worker ends.
    this.#worker.process.send(message, undefined, undefined, () => {
      if (bytes === 0) return;
      this.#waitingBytes = Math.max(0, this.#waitingBytes - bytes);
      this.#hasTaken = true;
      this.#stalledChecks = 0;
      this.#options.onTaken();
    });
  }

  /** Sends a message of the relay. */
  relay(message: Uint8Array): void {
    this.send({ kind: 'relay', message, retainsReceived: this.#retainsReceived }, message.length);
  }

  /** Tells the worker to accept connections, once. Rejects with the error that prevents it. */
  listen(): Promise<void> {
    if (!this.isListening) this.send({ kind: 'listen' });
    return this.#listening;
  }

  /** Tells the worker to let clients in. Also resolves if the worker ends before. */
  open(): Promise<void> {
    return new Promise((resolve) => {
      this.#onOpened = resolve;
      this.send({ kind: 'open' });
    });
  }

  take(socket: Socket): boolean {
    if (!this.#worker.isConnected()) return false;
    // If the worker ends meanwhile, Node closes the connection.
    this.#worker.process.send({ kind: 'socket' } satisfies ToWorker, socket, undefined, () => undefined);
    return true;
  }

  /** Returns its current metrics, or its last report. */
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

  /** Sends a question of the admin API. The answer is undefined if none arrives in time. */
  async ask<Question extends GatewayQuestion>(question: Question): Promise<GatewayAnswer<AnswerTo<Question>>> {
    const id = ++this.#asked;
    const answer = await new Promise<unknown>((resolve) => {
      const timer = setTimeout(resolve, ANSWER_MS);
      this.#asking.set(id, (given) => {
        clearTimeout(timer);
        resolve(given);
      });
      if (this.isFollowing) this.send({ kind: 'ask', id, question });
      else this.#asking.get(id)?.();
    });
    this.#asking.delete(id);
    return { worker: this.#options.number, answer: answer as AnswerTo<Question> | undefined };
  }

  /** What the admin API shows of it without a question. */
  get view(): WorkerView {
    return {
      worker: this.#options.number,
      pid: this.pid ?? null,
      state: this.isOpen && this.isListening ? 'serving' : 'starting',
      backlogBytes: this.#waitingBytes,
    };
  }

  kill(): void {
    this.#worker.process.kill('SIGKILL');
  }

  /** Sends the worker a message of another process. A worker with a large backlog misses it. */
  #tellOfPeer(message: Buffer): void {
    if (this.isFollowing && this.#waitingBytes < PEERS_WAITING_BYTES_MAX)
      this.send({ kind: 'peers', message }, message.length);
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
      case 'retain':
        this.#retainsReceived++;
        this.retained.add(message.channel);
        return;
      case 'release':
        this.#retainsReceived++;
        this.retained.delete(message.channel);
        return;
      case 'peers': {
        const { buffer, byteOffset, length } = message.message;
        return this.#peers.send(Buffer.from(buffer, byteOffset, length));
      }
      case 'answer':
        this.#asking.get(message.id)?.(message.answer);
        return;
      case 'measured':
        this.#values = message.values;
        this.#measuring.get(message.id)?.();
        return;
    }
  }
}
