/**
 * The connection to NATS, and the stream in it that carries the steps from ingest to gateways. It
 * reconnects by itself, for ever.
 */
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import {
  type Consumer,
  type ConsumerMessages,
  DeliverPolicy,
  DiscardPolicy,
  JetStreamApiError,
  type JetStreamClient,
  type JetStreamManager,
  type JsMsg,
  jetstream,
  jetstreamManager,
  RetentionPolicy,
  StorageType,
  type StreamConfig,
  type StreamInfo,
} from '@nats-io/jetstream';
import {
  type ConnectionOptions,
  connect,
  credsAuthenticator,
  type NatsConnection,
  nanos,
  nuid,
} from '@nats-io/transport-node';
import { backoff } from '../backoff.ts';
import { SnoError } from '../errors.ts';
import type { Logger } from '../logger.ts';
import { relayFault } from './fault.ts';
import type { ReceivedMessage, StoredMessage } from './stream-message.ts';

export interface RelayOptions {
  /** URLs of NATS servers. */
  readonly servers: readonly string[];
  readonly credsFile: string | undefined;
  readonly caFile: string | undefined;
  readonly stream: string;
  readonly replicas: number;
  readonly maxAgeMs: number;
  readonly maxBytes: number;
  readonly logger: Logger;
}

/** A process that reads the stream. */
export interface StreamReader {
  /** Begins with `sno_` and the name of its machine. */
  readonly name: string;
  /** Messages that it has not read. */
  readonly behind: number;
}

/** The stream's bounds. */
export interface StreamBounds {
  /** Sequence of the oldest message. */
  readonly first: number;
  /** Sequence of the newest message that was ever stored. */
  readonly last: number;
  readonly count: number;
  readonly bytes: number;
  /** When the oldest message was stored, in ms since 1970. */
  readonly firstAt: number;
  /** When the stream was made. Another time: it was deleted, and made again. */
  readonly createdAt: string;
  /** Servers that keep it, and the one that leads them. Undefined: the server is in no cluster. */
  readonly cluster: { readonly leader: string; readonly replicas: number; readonly current: number } | undefined;
}

const ANSWER_MS = 5_000;
const PING_MS = 2_000;
/** Unanswered pings after which the connection counts as broken. */
const PINGS_OUT_MAX = 2;
const RECONNECT_MS = 250;
/** Time without a message after which the server says that the consumer is alive, in ms. */
const CONSUMER_HEARTBEAT_MS = 1_000;
const PULL_MS = 5_000;
/** Messages that may be on their way to this process. */
const MESSAGES_AHEAD_MAX = 64;
/** How long the server keeps a consumer that is not read, in ms. */
const CONSUMER_KEPT_MS = 30_000;
/** Message ids are not used: what is published is checked by the last sequence. */
const DUPLICATES_MS = 1_000;
/** How long a stream that was deleted is not made again, in ms. */
const DELETED_MS = 2_000;
const NO_MESSAGE_FOUND = 10_037;
const STREAM_NOT_FOUND = 10_059;

export class Relay {
  readonly options: RelayOptions;
  readonly #connection: NatsConnection;
  readonly #client: JetStreamClient;
  readonly #manager: JetStreamManager;
  readonly #listeners = new Set<() => void>();
  #isConnected = true;
  /** Whether the stream has existed. */
  #hasSeen = false;
  #fault: string | undefined;

  private constructor(options: RelayOptions, connection: NatsConnection, manager: JetStreamManager) {
    this.options = options;
    this.#connection = connection;
    this.#client = jetstream(connection, { timeout: ANSWER_MS });
    this.#manager = manager;
    void this.#watch();
  }

  /** Connects. Throws `relay_unreachable` or `relay_refused`. */
  static async connect(options: RelayOptions): Promise<Relay> {
    try {
      const connection = await connect(natsOptions(options));
      const manager = await jetstreamManager(connection, { timeout: ANSWER_MS, checkAPI: false });
      return new Relay(options, connection, manager);
    } catch (error) {
      throw relayFault(error, options.stream);
    }
  }

  /** Connects once a server answers. Each failure is logged. Undefined: `isWanted` said no. */
  static async connectPatiently(options: RelayOptions, isWanted: () => boolean): Promise<Relay | undefined> {
    for (let attempt = 0; isWanted(); attempt++) {
      try {
        return await Relay.connect(options);
      } catch (error) {
        const { code, message, hint } = error as SnoError;
        const retryInMs = backoff(attempt, Math.random());
        options.logger.warn({ code, hint, retryInMs }, message);
        await delay(retryInMs);
      }
    }
    return undefined;
  }

  get isConnected(): boolean {
    return this.#isConnected;
  }

  /** The last error that the server reported. */
  get fault(): string | undefined {
    return this.#fault;
  }

  get serverVersion(): string {
    return this.#connection.info?.version ?? 'unknown';
  }

  /** Maximum bytes of a message, with its headers. */
  get payloadBytesMax(): number {
    return this.#connection.info?.max_payload ?? 1 << 20;
  }

  get subject(): string {
    return `sno.relay.${this.options.stream}`;
  }

  get #machinesSubject(): string {
    return `sno.machines.${this.options.stream}`;
  }

  /** Calls back when the connection broke or was made again. Returns a function that ends this. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Makes the stream, or fits an existing one to the settings. Throws SnoError. */
  async ensureStream(): Promise<void> {
    const { stream, replicas, maxAgeMs, maxBytes, logger } = this.options;
    const wanted: Partial<StreamConfig> & { readonly name: string } = {
      name: stream,
      subjects: [this.subject],
      retention: RetentionPolicy.Limits,
      storage: StorageType.File,
      discard: DiscardPolicy.Old,
      num_replicas: replicas,
      max_age: nanos(maxAgeMs),
      max_bytes: maxBytes,
      duplicate_window: nanos(Math.min(DUPLICATES_MS, maxAgeMs)),
      // A direct read may be stale.
      allow_direct: false,
    };
    try {
      let found = await this.#info();
      if (found === undefined && this.#hasSeen) {
        // nats-server removes the files of a deleted stream after it has told of the deletion. A
        // stream of that name that is made meanwhile loses its files too (2.9.10).
        await delay(DELETED_MS);
        found = await this.#info();
      }
      if (found === undefined) {
        await this.#manager.streams.add(wanted);
        logger.info({ stream, replicas }, 'the stream was made');
        return;
      }
      refuseForeign(found, wanted);
      const { max_age, max_bytes, num_replicas } = found.config;
      if (max_age === wanted.max_age && max_bytes === maxBytes && num_replicas === replicas) return;
      await this.#manager.streams.update(stream, wanted);
      logger.info(
        { stream, replicas, maxBytes, maxAgeSeconds: maxAgeMs / 1_000 },
        'the stream was fitted to the settings',
      );
    } catch (error) {
      throw relayFault(error, stream);
    }
  }

  /** Undefined: the stream does not exist. Throws SnoError. */
  async bounds(): Promise<StreamBounds | undefined> {
    try {
      const info = await this.#info();
      if (info === undefined) return undefined;
      const { first_seq, last_seq, messages, bytes, first_ts } = info.state;
      const firstAt = Date.parse(first_ts);
      const { leader = '', replicas = [] } = info.cluster ?? {};
      const current = replicas.filter(({ current, offline }) => current && offline !== true).length;
      return {
        first: first_seq,
        last: last_seq,
        count: messages,
        bytes,
        firstAt,
        createdAt: info.created,
        cluster: info.cluster === undefined ? undefined : { leader, replicas: replicas.length, current },
      };
    } catch (error) {
      throw relayFault(error, this.options.stream);
    }
  }

  /** The message with this sequence. Undefined: it is not there. Throws SnoError. */
  async message(sequence: number): Promise<StoredMessage | undefined> {
    return this.#read({ seq: sequence });
  }

  /** The newest message. Undefined: the stream is empty. Throws SnoError. */
  async lastMessage(): Promise<StoredMessage | undefined> {
    return this.#read({ last_by_subj: this.subject });
  }

  /**
   * Stores a message as the one after `lastSequence`. Throws the client's error. It may have been
   * stored nevertheless.
   */
  async publish(bytes: Buffer, lastSequence: number): Promise<void> {
    const expect = { lastSequence, streamName: this.options.stream };
    const { seq } = await this.#client.publish(this.subject, bytes, { expect, timeout: ANSWER_MS });
    if (seq !== lastSequence + 1) throw new Error(`stored at ${seq} instead of ${lastSequence + 1}`);
  }

  /**
   * Reads the stream from a sequence on. `received` is called for each message; `broken` at most
   * once, when the reading does not continue by itself. Returns a function that ends the reading.
   * Throws SnoError.
   */
  async follow(from: number, received: (message: ReceivedMessage) => void, broken: () => void): Promise<() => void> {
    let isOver = false;
    const end = () => {
      if (isOver) return;
      isOver = true;
      messages?.stop();
      void messages?.close().catch(() => undefined);
      void consumer?.delete().catch(() => undefined);
    };
    const breakOff = () => {
      if (isOver) return;
      end();
      broken();
    };
    let messages: ConsumerMessages | undefined;
    let consumer: Consumer | undefined;
    try {
      consumer = await this.#client.consumers.get(this.options.stream, {
        deliver_policy: DeliverPolicy.StartSequence,
        name_prefix: `${CONSUMER_NAME}_${nuid.next()}`,
        opt_start_seq: from,
        inactive_threshold: CONSUMER_KEPT_MS,
      });
      messages = await consumer.consume({
        max_messages: MESSAGES_AHEAD_MAX,
        expires: PULL_MS,
        idle_heartbeat: CONSUMER_HEARTBEAT_MS,
        callback: (message: JsMsg) => {
          if (isOver) return;
          const { buffer, byteOffset, length } = message.data;
          const { streamSequence: sequence, pending } = message.info;
          received({ sequence, bytes: Buffer.from(buffer, byteOffset, length), pending });
        },
      });
    } catch (error) {
      end();
      throw relayFault(error, this.options.stream);
    }
    void (async () => {
      // The client would make the consumer anew by itself, after up to 45 s of silence.
      for await (const { type } of (messages as ConsumerMessages).status()) if (ENDS.has(type)) breakOff();
      breakOff();
    })();
    return end;
  }

  /** The present readers of the stream, with what each has not read. Throws SnoError. */
  async readers(): Promise<readonly StreamReader[]> {
    const readers: StreamReader[] = [];
    try {
      for await (const { name, num_pending } of this.#manager.consumers.list(this.options.stream))
        readers.push({ name, behind: num_pending });
    } catch (error) {
      throw relayFault(error, this.options.stream);
    }
    return readers;
  }

  /** Passes a message to all machines, if NATS is connected. Nothing stores it. */
  tellMachines(bytes: Buffer): void {
    if (!this.#isConnected) return;
    try {
      this.#connection.publish(this.#machinesSubject, bytes);
    } catch (error) {
      // The server takes smaller messages only, or the connection has just closed.
      this.#tell(relayFault(error, this.options.stream));
    }
  }

  /** Calls back for each message of `tellMachines`, this machine's own ones too. */
  hearMachines(received: (bytes: Buffer) => void): void {
    this.#connection.subscribe(this.#machinesSubject, {
      callback: (error, message) => {
        // An error says that the server refuses the subject: it comes as a status too.
        if (error !== null) return;
        const { buffer, byteOffset, length } = message.data;
        received(Buffer.from(buffer, byteOffset, length));
      },
    });
  }

  async close(): Promise<void> {
    this.#listeners.clear();
    await this.#connection.close();
  }

  async #info(): Promise<StreamInfo | undefined> {
    try {
      const info = await this.#manager.streams.info(this.options.stream);
      this.#hasSeen = true;
      return info;
    } catch (error) {
      if (error instanceof JetStreamApiError && error.code === STREAM_NOT_FOUND) return undefined;
      throw error;
    }
  }

  async #read(query: { readonly seq: number } | { readonly last_by_subj: string }): Promise<StoredMessage | undefined> {
    try {
      const found = await this.#manager.streams.getMessage(this.options.stream, query);
      if (found === null) return undefined;
      const { buffer, byteOffset, length } = found.data;
      return { sequence: found.seq, bytes: Buffer.from(buffer, byteOffset, length), storedAt: found.time.getTime() };
    } catch (error) {
      if (error instanceof JetStreamApiError && error.code === NO_MESSAGE_FOUND) return undefined;
      throw relayFault(error, this.options.stream);
    }
  }

  /** Logs an error of the server, once until the connection is made again. */
  #tell({ code, hint, message }: SnoError): void {
    if (this.#fault === message) return;
    this.#fault = message;
    this.options.logger.warn({ code, hint }, message);
  }

  async #watch(): Promise<void> {
    for await (const status of this.#connection.status()) {
      switch (status.type) {
        case 'disconnect':
        case 'reconnect':
          this.#isConnected = status.type === 'reconnect';
          if (this.#isConnected) this.#fault = undefined;
          for (const listener of [...this.#listeners]) listener();
          break;
        case 'error':
          this.#tell(relayFault(status.error, this.options.stream));
          break;
        default:
      }
    }
    this.#isConnected = false;
  }
}

/** Readers of the stream are named after their machine, for the operator. */
const CONSUMER_NAME = `sno_${hostname().replaceAll(/[^A-Za-z0-9_-]/g, '_')}`;

/** What a consumer tells when it will not continue by itself, or only after a long silence. */
const ENDS: ReadonlySet<string> = new Set([
  'heartbeats_missed',
  'consumer_not_found',
  'consumer_deleted',
  'stream_not_found',
  'no_responders',
  'reset',
]);

function natsOptions({ servers, credsFile, caFile }: RelayOptions): ConnectionOptions {
  return {
    ...addressesOf(servers),
    name: 'sno',
    maxReconnectAttempts: -1,
    reconnectTimeWait: RECONNECT_MS,
    reconnectJitter: RECONNECT_MS,
    // Credentials may be renewed while this process runs.
    ignoreAuthErrorAbort: true,
    timeout: ANSWER_MS,
    pingInterval: PING_MS,
    maxPingOut: PINGS_OUT_MAX,
    noAsyncTraces: true,
    ...(credsFile === undefined ? {} : { authenticator: credsAuthenticator(() => readFileSync(credsFile)) }),
    ...(caFile === undefined ? {} : { tls: { caFile } }),
  };
}

/**
 * The client takes addresses without user and password. A user without a password is a token, as
 * for NATS's own tools.
 */
function addressesOf(servers: readonly string[]): Pick<ConnectionOptions, 'servers' | 'user' | 'pass' | 'token'> {
  const urls = servers.map((server) => new URL(server));
  const named = urls.find(({ username }) => username !== '');
  const addresses = { servers: urls.map(({ protocol, host }) => `${protocol}//${host}`) };
  if (named === undefined) return addresses;
  const [user, pass] = [decodeURIComponent(named.username), decodeURIComponent(named.password)];
  return pass === '' ? { ...addresses, token: user } : { ...addresses, user, pass };
}

/** Throws `relay_stream` for a stream that Snö did not make. */
function refuseForeign({ config }: StreamInfo, wanted: Partial<StreamConfig>): void {
  const differs = (['retention', 'storage', 'discard'] as const).find((name) => config[name] !== wanted[name]);
  const subjects = (config.subjects ?? []).join(', ');
  if (differs === undefined && subjects === wanted.subjects?.join(', ')) return;
  const what = differs === undefined ? `its subjects are ${subjects}` : `its ${differs} is ${config[differs]}`;
  throw new SnoError('relay_stream', `the stream ${config.name} was not made by Snö: ${what}`);
}
