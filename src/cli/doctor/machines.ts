/** Checks several machines: the reader of the WAL, and the stream between machines. */
import type { Settings } from '../../config/settings.ts';
import { SnoError } from '../../errors.ts';
import { Relay } from '../../jetstream/connection.ts';
import { envelopeOf } from '../../jetstream/envelope.ts';
import { relayOptions } from '../../jetstream/relay-options.ts';
import type { StreamBounds } from '../../jetstream/stored-stream.ts';
import { createLogger } from '../../logger.ts';
import { foreignStream, UNKNOWN_OWNER } from '../../relay/installation.ts';
import { SHARE_HINT } from '../../setup/other-readers.ts';
import { sizeText } from '../../size.ts';
import type { SlotHolder } from '../../wal/slot-holder.ts';
import { type Outcome, ok, warn } from './finding.ts';

/** Maximum messages that a reader may be behind without a warning. */
const BEHIND_MAX = 1_000;
/** Age of the newest message that is a warning, in seconds. Ingest publishes every two seconds. */
const SILENT_SECONDS_MAX = 10;

/** Returns the outcomes without NATS. `slots`: those that other installations read now. */
export function separateOutcomes(slots: readonly string[]): readonly Outcome[] {
  return slots.map((slot) =>
    warn(
      `another Snö reads this database by the slot ${slot}, and SNO_NATS_URL is not set: members of channels and sends are not shared`,
      SHARE_HINT,
    ),
  );
}

/** Returns the outcomes with NATS. An error of NATS is one of them. */
export async function machineOutcomes(
  settings: Settings,
  holder: SlotHolder | undefined,
  installation: string,
): Promise<readonly Outcome[]> {
  const reader =
    holder === undefined
      ? warn(
          `no machine reads slot ${settings.SNO_SLOT}`,
          'Start `sno start` on a machine, with SNO_ROLE=all or SNO_ROLE=ingest.',
        )
      : ok(`slot ${settings.SNO_SLOT} is read by ${holder.text}`);
  try {
    const relay = await Relay.connect(relayOptions(settings, createLogger('silent')));
    try {
      return [reader, ...(await streamOutcomes(relay, settings, installation))];
    } finally {
      await relay.close();
    }
  } catch (error) {
    if (!(error instanceof SnoError)) throw error;
    return [reader, { level: 'fail', message: error.message, hint: error.hint }];
  }
}

async function streamOutcomes(relay: Relay, settings: Settings, installation: string): Promise<Outcome[]> {
  const stream = settings.SNO_NATS_STREAM;
  const connected = ok(`connected to NATS ${relay.serverVersion}`);
  const bounds = await relay.bounds();
  if (bounds === undefined)
    return [
      connected,
      warn(`the stream ${stream} does not exist`, '`sno start` makes it on the machine that reads the WAL.'),
    ];
  return [
    connected,
    sizeOutcome(stream, bounds),
    clusterOutcome(bounds, settings),
    await newestOutcome(relay, stream, installation),
    ...(await readerOutcomes(relay)),
  ];
}

function sizeOutcome(stream: string, { count, bytes, firstAt, last }: StreamBounds): Outcome {
  const age = count === 0 ? '' : `, the oldest ${Math.round((Date.now() - firstAt) / 1_000)} s old`;
  return ok(`the stream ${stream} keeps ${count} messages, ${sizeText(bytes)}${age}; its last sequence is ${last}`);
}

function clusterOutcome({ cluster }: StreamBounds, { SNO_NATS_REPLICAS: wanted }: Settings): Outcome {
  // From nats-server 2.10 on, a server that is in no cluster leads itself.
  if (cluster === undefined || cluster.replicas === 0)
    return warn(
      'one server keeps the stream: when it is lost, the stream is too',
      'Run three servers as a cluster, and set SNO_NATS_REPLICAS=3. Snö fills a lost stream again from the slot, as far as Postgres has kept the WAL.',
    );
  const { leader, replicas, current } = cluster;
  const text = `${replicas + 1} servers keep the stream, led by ${leader}; ${current} of ${replicas} others have all of it`;
  if (current === replicas && replicas + 1 === wanted) return ok(text);
  return warn(text, 'Start the servers that are down, and wait until they have caught up.');
}

async function newestOutcome(relay: Relay, stream: string, installation: string): Promise<Outcome> {
  const newest = await relay.lastMessage();
  if (newest === undefined)
    return warn('the stream is empty', 'Nothing has been published: see which machine reads the WAL.');
  const seconds = Math.max(0, Math.round((Date.now() - newest.storedAt) / 1_000));
  const { term, owner } = envelopeOf(newest.bytes);
  if (owner !== installation && owner !== UNKNOWN_OWNER) {
    const { message, hint } = foreignStream(stream);
    return { level: 'fail', message, hint };
  }
  const text = `the newest message is ${seconds} s old (term ${term})`;
  if (seconds <= SILENT_SECONDS_MAX) return ok(text);
  return warn(
    text,
    'No machine publishes at present. The log of `sno start` says why; the clocks of the machines may differ.',
  );
}

async function readerOutcomes(relay: Relay): Promise<Outcome[]> {
  const readers = await relay.readers();
  return readers.map(({ name, behind }) => {
    const text = `${name} reads the stream, ${behind} messages behind`;
    return behind <= BEHIND_MAX ? ok(text) : warn(text, 'Its machine may be overloaded, or its process stopped.');
  });
}
