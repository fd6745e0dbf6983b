/** Runs all checks of `sno doctor`. */
import type pg from 'pg';
import { databaseUrl, slotWalBytes } from '../../config/derived.ts';
import type { Settings } from '../../config/settings.ts';
import { createClient } from '../../postgres/connect.ts';
import { resolveTarget } from '../../postgres/conninfo/target.ts';
import { readInstallation } from '../../relay/installation.ts';
import { otherReaders } from '../../setup/other-readers.ts';
import { holderOf, type SlotHolder } from '../../wal/slot-holder.ts';
import { withDatabase } from '../database.ts';
import { accessIndexOutcomes } from './access-indexes.ts';
import { certificateOutcomes } from './certificate.ts';
import { clockOutcome } from './clock.ts';
import { connectionsNeeded, readLimits, roomOutcomes } from './connection-room.ts';
import { isLocal, tlsOutcome } from './connection-tls.ts';
import { diagnose } from './diagnose.ts';
import { diskOutcome, freeBytesOf } from './disk.ts';
import { type Facts, readFacts } from './facts.ts';
import { type Finding, findings } from './finding.ts';
import { machineOutcomes, separateOutcomes } from './machines.ts';
import { openFilesOutcome } from './open-files.ts';
import { replicationOutcome } from './replication-check.ts';
import { tableFindings } from './tables.ts';

interface Examined {
  readonly found: readonly Finding[];
  readonly holder: SlotHolder | undefined;
  /** The slots that other installations of Snö read now. */
  readonly others: readonly string[];
  /** Whether a running Snö streams from the slot. */
  readonly isStreaming: boolean;
  /** The id of this installation. */
  readonly installation: string;
}

export async function examine(settings: Settings): Promise<readonly Finding[]> {
  const { found, holder, others, isStreaming, installation } = await withDatabase(settings, createClient, (client) =>
    examineDatabase(client, settings),
  );
  return [
    ...found,
    ...findings('replication_connection', await replicationOutcome(settings, isStreaming)),
    ...findings('certificate', await certificateOutcomes(settings, Date.now())),
    ...findings('open_files', openFilesOutcome(settings)),
    ...findings(
      'machines',
      settings.SNO_NATS_URL === undefined
        ? separateOutcomes(others)
        : await machineOutcomes(settings, holder, installation),
    ),
  ];
}

async function examineDatabase(client: pg.Client, settings: Settings): Promise<Examined> {
  const { SNO_SLOT: slot, SNO_PUBLICATION: publication } = settings;
  const facts = await readFacts(client, slot, publication);
  const target = resolveTarget(databaseUrl(settings));
  const isInstalled = facts.install.version !== undefined;
  const freeBytes = await freeBytesOf(client, isLocal(target));
  const heldBytes = facts.slots.own?.retainedBytes ?? 0;
  const found = [
    ...diagnose(facts, {
      slot,
      publication,
      replayWalBytes: settings.SNO_REPLAY_WAL_BYTES,
      slotWalBytes: slotWalBytes(settings),
      slotWalPolicy: settings.SNO_SLOT_WAL_POLICY,
    }),
    ...findings(
      'disk',
      diskOutcome(boundOf(facts, settings), freeBytes === undefined ? undefined : { freeBytes, heldBytes }),
    ),
    ...findings('connections', roomOutcomes(await readLimits(client), connectionsNeeded(settings))),
    ...findings('postgres_tls', tlsOutcome(client, target)),
    ...findings('clock', await clockOutcome(client)),
    ...(await tableFindings(client, publication, isInstalled)),
    ...(isInstalled ? findings('access_indexes', await accessIndexOutcomes(client, publication)) : []),
  ];
  const others = isInstalled ? await otherReaders(client, slot) : [];
  return {
    found,
    holder: await holderOf(client, slot),
    others,
    isStreaming: facts.slots.own?.active === true,
    installation: await readInstallation(client, slot),
  };
}

/** Returns the maximum bytes of WAL that the slot may hold. Undefined: no limit. */
function boundOf({ slotKeepBytes }: Facts, settings: Settings): number | undefined {
  const own = settings.SNO_SLOT_WAL_POLICY === 'give_up' ? slotWalBytes(settings) : 0;
  const bound = slotKeepBytes >= 0 ? Math.max(slotKeepBytes, 0) : own;
  return bound === 0 && slotKeepBytes < 0 ? undefined : bound;
}
