/**
 * The connection to NATS, and the stream that carries the steps from ingest to gateways. It
 * reconnects by itself, without limit.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { type JetStreamClient, type JetStreamManager, jetstream, jetstreamManager } from '@nats-io/jetstream';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { backoff } from '../backoff.ts';
import type { SnoError } from '../errors.ts';
import { relayFault } from './fault.ts';
import { ANSWER_MS, natsOptions } from './nats-options.ts';
import { readersOf, readStream, type StreamReader } from './reading.ts';
import type { RelayOptions } from './relay-options.ts';
import { StoredStream, type StreamBounds } from './stored-stream.ts';
import type { ReceivedMessage, StoredMessage } from './stream-message.ts';

/** How long to wait before a refused subject is subscribed to again, in ms. */
const REFUSED_MS = 2_000;

export class Relay {
  readonly options: RelayOptions;
  readonly #connection: NatsConnection;
  readonly #client: JetStreamClient;
  readonly #manager: JetStreamManager;
  readonly #stored: StoredStream;
  readonly #listeners = new Set<() => void>();
  #isConnected = true;
  #fault: string | undefined;

  private constructor(options: RelayOptions, connection: NatsConnection, manager: JetStreamManager) {
    this.options = options;
    this.#connection = connection;
    this.#client = jetstream(connection, { timeout: ANSWER_MS });
    this.#manager = manager;
    this.#stored = new StoredStream(options, manager, this.subject);
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

  /** Retries until it is connected, and logs each failure. Undefined: `isWanted` returned false. */
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

  /** Calls back when the connection broke or is back. Returns a function that ends this. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Creates the stream, or adapts an existing one to the settings. Throws SnoError. */
  ensureStream(): Promise<void> {
    return this.#stored.ensure();
  }

  /** Undefined: the stream does not exist. Throws SnoError. */
  bounds(): Promise<StreamBounds | undefined> {
    return this.#stored.bounds();
  }

  /** Returns the message with this sequence. Undefined: it is missing. Throws SnoError. */
  message(sequence: number): Promise<StoredMessage | undefined> {
    return this.#stored.message(sequence);
  }

  /** Returns the newest message. Undefined: the stream is empty. Throws SnoError. */
  lastMessage(): Promise<StoredMessage | undefined> {
    return this.#stored.last();
  }

  /**
   * Stores a message as the one after `lastSequence`. Throws the NATS client's error. The message
   * may have been stored nevertheless.
   */
  async publish(bytes: Buffer, lastSequence: number): Promise<void> {
    const expect = { lastSequence, streamName: this.options.stream };
    const { seq } = await this.#client.publish(this.subject, bytes, { expect, timeout: ANSWER_MS });
    if (seq !== lastSequence + 1) throw new Error(`stored at ${seq} instead of ${lastSequence + 1}`);
  }

  /** Reads the stream from a sequence on: see `readStream`. Throws SnoError. */
  follow(from: number, received: (message: ReceivedMessage) => void, broken: () => void): Promise<() => void> {
    return readStream(this.#client, this.options.stream, from, received, broken);
  }

  /** Returns the current readers of the stream, and how far each is behind. Throws SnoError. */
  readers(): Promise<readonly StreamReader[]> {
    return readersOf(this.#manager, this.options.stream);
  }

  /** Sends a message to all machines, if NATS is connected. It is not stored. */
  broadcast(bytes: Buffer): void {
    if (!this.#isConnected) return;
    try {
      this.#connection.publish(this.#machinesSubject, bytes);
    } catch (error) {
      // The message is too large for the server, or the connection has just closed.
      this.#logOnce(relayFault(error, this.options.stream));
    }
  }

  /** Calls back for each message of `broadcast`, including those of this machine. */
  onBroadcast(received: (bytes: Buffer) => void): void {
    this.#connection.subscribe(this.#machinesSubject, {
      callback: (error, message) => {
        if (error !== null) {
          // The server refuses the subject, which `status` reports too. The client gives the
          // subscription up, also if the user is allowed to use the subject later.
          setTimeout(() => {
            if (!this.#connection.isClosed()) this.onBroadcast(received);
          }, REFUSED_MS).unref();
          return;
        }
        const { buffer, byteOffset, length } = message.data;
        received(Buffer.from(buffer, byteOffset, length));
      },
    });
  }

  async close(): Promise<void> {
    this.#listeners.clear();
    await this.#connection.close();
  }

  /** Logs an error of the server, once per connection. */
  #logOnce({ code, hint, message }: SnoError): void {
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
          this.#logOnce(relayFault(status.error, this.options.stream));
          break;
        default:
      }
    }
    this.#isConnected = false;
  }
}
