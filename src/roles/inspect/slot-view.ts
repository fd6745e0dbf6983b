/** The slot as the admin API shows it: facts of Postgres, and of ingest, which reads it. */
import type pg from 'pg';
import type { OpenTransaction, Slot } from '../../admin/api/types.ts';
import { slotWalBytes } from '../../config/derived.ts';
import type { Settings } from '../../config/settings.ts';
import { quoteLiteral } from '../../postgres/quote.ts';
import { roomOf } from '../../wal/slot-monitor.ts';
import { type RunningTransaction, readSlotReport, runningTransactions } from './slot-report.ts';
import type { ServiceView } from './view.ts';

type SlotSettings = Pick<Settings, 'SNO_SLOT' | 'SNO_SLOT_WAL_BYTES' | 'SNO_SLOT_WAL_POLICY' | 'SNO_REPLAY_WAL_BYTES'>;

const TRANSACTIONS_MAX = 5;

export async function slotView(
  pool: Pick<pg.Pool, 'query'>,
  settings: SlotSettings,
  view: Pick<ServiceView, 'ingest' | 'epoch'>,
): Promise<Slot> {
  const { SNO_SLOT: name, SNO_SLOT_WAL_POLICY: policy } = settings;
  const boundBytes = slotWalBytes(settings);
  const { ingest, epoch } = view;
  const own = {
    name,
    policy,
    boundBytes: boundBytes > 0 ? boundBytes : null,
    growthBytesPerSecond: ingest?.growthBytesPerSecond ?? null,
    secondsLeft: ingest?.secondsLeft ?? null,
    walLagBytes: ingest?.walLagBytes ?? null,
    epoch: epoch === '' ? null : epoch,
    generation: ingest?.generation ?? null,
    isCaughtUp: ingest?.isCaughtUp ?? null,
  };
  try {
    const [report, running] = await Promise.all([
      readSlotReport(pool, name),
      runningTransactions(pool, TRANSACTIONS_MAX),
    ]);
    const room = report?.state === undefined ? undefined : roomOf(report.state, boundBytes);
    const isLost = report?.status === 'lost';
    return {
      ...own,
      status: report === undefined ? 'missing' : ((report.status as Slot['status'] | undefined) ?? 'unknown'),
      isActive: report?.holder !== undefined,
      heldBytes: report?.state?.heldBytes ?? null,
      unconfirmedBytes: report?.state?.unconfirmedBytes ?? null,
      postgresLeftBytes: report?.state?.safeBytes ?? null,
      leftBytes: room?.leftBytes ?? null,
      level: room?.level ?? (isLost ? 'full' : 'fine'),
      restartLsn: report?.restartLsn ?? null,
      confirmedLsn: report?.confirmedLsn ?? null,
      holder: report?.holder ?? null,
      failover: {
        isSupported: report?.failover !== undefined,
        isEnabled: report?.failover ?? null,
        isSynced: report?.synced ?? null,
      },
      transactions: running.map(transactionOf),
      problem: null,
    };
  } catch (error) {
    return {
      ...own,
      status: 'unknown',
      isActive: false,
      heldBytes: null,
      unconfirmedBytes: null,
      postgresLeftBytes: null,
      leftBytes: null,
      level: 'fine',
      restartLsn: null,
      confirmedLsn: null,
      holder: null,
      failover: { isSupported: false, isEnabled: null, isSynced: null },
      transactions: [],
      problem: (error as Error).message,
    };
  }
}

function transactionOf(running: RunningTransaction): OpenTransaction {
  const { pid, gid, user, application, state, ageSeconds, stateSeconds, waitsFor } = running;
  return {
    kind: gid === undefined ? 'session' : 'prepared',
    pid: pid ?? null,
    gid: gid ?? null,
    user,
    application,
    state,
    ageSeconds,
    stateSeconds,
    waitsFor,
    remedy: {
      language: 'sql',
      text:
        gid === undefined ? `select pg_terminate_backend(${pid});` : `rollback prepared ${quoteLiteral(gid).trim()};`,
    },
  };
}
