/** The stream in JetStream: creates it, describes it, and reads single messages. */
import { setTimeout as delay } from 'node:timers/promises';
import {
  DiscardPolicy,
  JetStreamApiError,
  type JetStreamManager,
  RetentionPolicy,
  StorageType,
  type StreamConfig,
  type StreamInfo,
} from '@nats-io/jetstream';
import { nanos } from '@nats-io/transport-node';
import { SnoError } from '../errors.ts';
import { isStray } from './envelope.ts';
import { relayFault } from './fault.ts';
import type { RelayOptions } from './relay-options.ts';
import type { StoredMessage } from './stream-message.ts';

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
  /** When the stream was created. If this changes, the stream was deleted and created again. */
  readonly createdAt: string;
  /** The servers that store it, and their leader. Undefined: the server is in no cluster. */
  readonly cluster: { readonly leader: string; readonly replicas: number; readonly current: number } | undefined;
}

/** Short, since message ids are not used: duplicates are found by the expected sequence. */
const DUPLICATES_MS = 1_000;
/** How long to wait before a deleted stream is created again, in ms. */
const DELETED_MS = 2_000;
/** Maximum deleted messages that are passed over while the newest message is looked for. */
const STRAY_MAX = 1_000;
const NO_MESSAGE_FOUND = 10_037;
const STREAM_NOT_FOUND = 10_059;

type StreamOptions = Pick<RelayOptions, 'stream' | 'replicas' | 'maxAgeMs' | 'maxBytes' | 'logger'>;

export class StoredStream {
  readonly #options: StreamOptions;
  readonly #manager: JetStreamManager;
  readonly #subject: string;
  /** Whether the stream has existed. */
  #hasSeen = false;
  /** The newest message of another program that was logged. */
  #stray = 0;

  constructor(options: StreamOptions, manager: JetStreamManager, subject: string) {
    this.#options = options;
    this.#manager = manager;
    this.#subject = subject;
  }

  /**
   * Creates the stream, or adapts an existing one to the settings. Throws SnoError if it is missing
   * and cannot be made, or if another program made it.
   */
  async ensure(): Promise<void> {
    const { stream, replicas, maxAgeMs, maxBytes, logger } = this.#options;
    const wanted: Partial<StreamConfig> & { readonly name: string } = {
      name: stream,
      subjects: [this.#subject],
      retention: RetentionPolicy.Limits,
      storage: StorageType.File,
      discard: DiscardPolicy.Old,
      num_replicas: replicas,
      max_age: nanos(maxAgeMs),
      max_bytes: maxBytes,
      max_msg_size: -1,
      duplicate_window: nanos(Math.min(DUPLICATES_MS, maxAgeMs)),
      // A direct read may be stale.
      allow_direct: false,
    };
    try {
      let found = await this.#info();
      if (found === undefined && this.#hasSeen) {
        // nats-server removes the files of a deleted stream after it has reported the deletion. A
        // stream of that name that is created meanwhile loses its files too (2.9.10).
        await delay(DELETED_MS);
        found = await this.#info();
      }
      if (found === undefined) {
        await this.#manager.streams.add(wanted);
        logger.info({ stream, replicas }, 'the stream was made');
        return;
      }
      refuseForeign(found, wanted);
      const names = ['max_age', 'max_bytes', 'num_replicas', 'discard', 'max_msg_size'] as const;
      if (names.every((name) => found.config[name] === wanted[name])) return;
      await this.#fit(wanted);
    } catch (error) {
      throw relayFault(error, stream);
    }
  }

  /** Applies the settings to the existing stream. If the servers refuse them, it stays as it is. */
  async #fit(wanted: Partial<StreamConfig>): Promise<void> {
    const { stream, replicas, maxAgeMs, maxBytes, logger } = this.#options;
    const settings = { stream, replicas, maxBytes, maxAgeSeconds: maxAgeMs / 1_000 };
    try {
      await this.#manager.streams.update(stream, wanted);
      logger.info(settings, 'the stream was fitted to the settings');
    } catch (error) {
      const { code, hint, message } = relayFault(error, stream);
      logger.warn({ code, hint, ...settings }, `the stream could not be fitted to the settings: ${message}`);
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
      throw relayFault(error, this.#options.stream);
    }
  }

  /**
   * Returns the message with this sequence. Undefined: it is missing, or of another program. Throws
   * SnoError.
   */
  async message(sequence: number): Promise<StoredMessage | undefined> {
    const found = await this.#read({ seq: sequence });
    return found === undefined || isStray(found.bytes) ? undefined : found;
  }

  /** Returns the newest message of Snö. Undefined: the stream has none. Throws SnoError. */
  async last(): Promise<StoredMessage | undefined> {
    let found = await this.#read({ last_by_subj: this.#subject });
    while (found !== undefined && isStray(found.bytes)) {
      const { sequence } = found;
      this.#logStray(sequence);
      found = undefined;
      for (let before = sequence - 1; found === undefined && before >= Math.max(1, sequence - STRAY_MAX); before--)
        found = await this.#read({ seq: before });
    }
    return found;
  }

  #logStray(sequence: number): void {
    if (sequence <= this.#stray) return;
    this.#stray = sequence;
    const { stream, logger } = this.#options;
    logger.warn(
      { sequence, hint: `Allow only Snö to publish to ${this.#subject}.` },
      `another program has published in the stream ${stream}: its messages are skipped`,
    );
  }

  async #info(): Promise<StreamInfo | undefined> {
    try {
      const info = await this.#manager.streams.info(this.#options.stream);
      this.#hasSeen = true;
      return info;
    } catch (error) {
      if (error instanceof JetStreamApiError && error.code === STREAM_NOT_FOUND) return undefined;
      throw error;
    }
  }

  async #read(query: { readonly seq: number } | { readonly last_by_subj: string }): Promise<StoredMessage | undefined> {
    try {
      const found = await this.#manager.streams.getMessage(this.#options.stream, query);
      if (found === null) return undefined;
      const { buffer, byteOffset, length } = found.data;
      return { sequence: found.seq, bytes: Buffer.from(buffer, byteOffset, length), storedAt: found.time.getTime() };
    } catch (error) {
      if (error instanceof JetStreamApiError && error.code === NO_MESSAGE_FOUND) return undefined;
      throw relayFault(error, this.#options.stream);
    }
  }
}

/** Throws `relay_stream` for a stream that Snö did not make. */
function refuseForeign({ config }: StreamInfo, wanted: Partial<StreamConfig>): void {
  const differs = (['retention', 'storage'] as const).find((name) => config[name] !== wanted[name]);
  const subjects = (config.subjects ?? []).join(', ');
  if (differs === undefined && subjects === wanted.subjects?.join(', ')) return;
  const what = differs === undefined ? `its subjects are ${subjects}` : `its ${differs} is ${config[differs]}`;
  throw new SnoError('relay_stream', `the stream ${config.name} was not made by Snö: ${what}`);
}
