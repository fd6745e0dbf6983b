/** Creates the stream from the slot, according to the settings. */

import type { HistoryPlace } from '../commit/stream-head.ts';
import { slotWalBytes } from '../config/derived.ts';
import { generationOf } from '../position.ts';
import { steadyNow } from '../steady-clock.ts';
import type { Progress } from '../wal/slot.ts';
import type { Acknowledger } from '../wal/source.ts';
import { ReplicationStream } from '../wal/stream.ts';
import { Impasse } from '../wal/undecodable/impasse.ts';
import type { InProgress } from './in-progress.ts';
import type { IngestOptions } from './ingest-options.ts';

const SLOT_LOCK_TIMEOUT_MS = 10_000;
/**
 * How long to wait for another process to leave the slot, in ms, beyond SNO_DRAIN_SECONDS: it
 * leaves the slot when its clients are disconnected.
 */
const SLOT_IN_USE_TIMEOUT_MS = 15_000;

interface StreamParts {
  readonly inProgress: InProgress;
  readonly acknowledger: Acknowledger;
}

export function createSlotStream(options: IngestOptions, parts: StreamParts): ReplicationStream {
  const { settings, databaseUrl, pool, logger, metrics, onBug, relayed } = options;
  const boundBytes = slotWalBytes(settings);
  return new ReplicationStream({
    url: databaseUrl,
    pool,
    slot: settings.SNO_SLOT,
    publication: settings.SNO_PUBLICATION,
    backlogBytesMax: settings.SNO_WAL_BUFFER_BYTES,
    slotLockTimeoutMs: SLOT_LOCK_TIMEOUT_MS,
    tcpUserTimeoutMs: settings.SNO_TCP_USER_TIMEOUT_SECONDS * 1_000,
    slotWalBytesMax: boundBytes > 0 && settings.SNO_SLOT_WAL_POLICY === 'give_up' ? boundBytes : undefined,
    onGivenUp: () => metrics.slotGivenUp.inc(),
    impasse: relayed?.impasse ?? new Impasse(settings.SNO_UNDECODABLE_SECONDS * 1_000),
    onUndecodable: () => metrics.undecodable.inc(),
    slotInUseTimeoutMs: relayed === undefined ? settings.SNO_DRAIN_SECONDS * 1_000 + SLOT_IN_USE_TIMEOUT_MS : 0,
    ...(relayed === undefined ? {} : { progress: progressOf(relayed.continued?.place), quietMs: relayed.quietMs }),
    inProgress: () => parts.inProgress.isWanted,
    isInProgress: () => parts.inProgress.assembler.isReceiving,
    handler: parts.inProgress.assembler,
    acknowledger: parts.acknowledger,
    logger,
    now: steadyNow,
    random: Math.random,
    onDisconnect: (why) => {
      metrics.reconnects.inc();
      parts.inProgress.assembler.abandon();
      relayed?.onDisconnect(why);
    },
    onBug,
  });
}

/** Returns the progress of another process in the slot's history. */
function progressOf(place: HistoryPlace | undefined): Progress | undefined {
  if (place === undefined) return undefined;
  return { epoch: place.epoch, generation: generationOf(place.epoch), head: place.head.lsn };
}
