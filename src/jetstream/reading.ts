/** Reads the stream from a message on, by a consumer that JetStream keeps for one process. */
import { hostname } from 'node:os';
import {
  type Consumer,
  type ConsumerMessages,
  DeliverPolicy,
  type JetStreamClient,
  type JetStreamManager,
  type JsMsg,
} from '@nats-io/jetstream';
import { nuid } from '@nats-io/transport-node';
import { relayFault } from './fault.ts';
import type { ReceivedMessage } from './stream-message.ts';

/** A process that reads the stream. */
export interface StreamReader {
  /** Begins with `sno_` and the name of its machine. */
  readonly name: string;
  /** Number of messages that it has not read. */
  readonly behind: number;
}

/** Silence after which the server sends a heartbeat of the consumer, in ms. */
const CONSUMER_HEARTBEAT_MS = 1_000;
const PULL_MS = 5_000;
/** Maximum messages in flight to this process. */
const MESSAGES_AHEAD_MAX = 64;
/** How long the server keeps a consumer that is not read, in ms. */
const CONSUMER_KEPT_MS = 30_000;

/** Consumers are named after their machine, so that operators recognise them. */
const CONSUMER_NAME = `sno_${hostname().replaceAll(/[^A-Za-z0-9_-]/g, '_')}`;

/** Statuses after which a consumer does not continue by itself, or only after long silence. */
const ENDS: ReadonlySet<string> = new Set([
  'heartbeats_missed',
  'consumer_not_found',
  'consumer_deleted',
  'stream_not_found',
  'no_responders',
  'reset',
]);

/**
 * Reads the stream from a sequence on. `received` is called for each message; `broken` at most
 * once, when the reading does not continue by itself. Returns a function that ends the reading.
 * Throws SnoError.
 */
export async function readStream(
  client: JetStreamClient,
  stream: string,
  from: number,
  received: (message: ReceivedMessage) => void,
  broken: () => void,
): Promise<() => void> {
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
    consumer = await client.consumers.get(stream, {
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
    throw relayFault(error, stream);
  }
  void (async () => {
    // The NATS client itself would recreate the consumer only after up to 45 s of silence.
    for await (const { type } of (messages as ConsumerMessages).status()) if (ENDS.has(type)) breakOff();
    breakOff();
  })();
  return end;
}

/** Returns the current readers of the stream, and how far each is behind. Throws SnoError. */
export async function readersOf(manager: JetStreamManager, stream: string): Promise<readonly StreamReader[]> {
  const readers: StreamReader[] = [];
  try {
    for await (const { name, num_pending } of manager.consumers.list(stream))
      readers.push({ name, behind: num_pending });
  } catch (error) {
    throw relayFault(error, stream);
  }
  return readers;
}
