/** The causes that concern the replication slot, and what ends them. */
import { ERRORS } from '../../errors.ts';
import { sizeText, timeText } from '../../size.ts';
import type { Cause, OpenTransaction, Slot } from './types.ts';

/** Age above which an open transaction is reported, in seconds. */
const LONG_SECONDS = 300;
/** WAL that Snö has not read, above which it counts as behind, in bytes. */
const BEHIND_BYTES = 64 * 1024 ** 2;
/** Minimum share of the held WAL for which an open transaction counts as the cause. */
const BLAMED = 0.5;

export function slotCauses(slot: Slot): Cause[] {
  if (slot.problem !== null)
    return [
      {
        level: 'failing',
        code: 'database_unreachable',
        message: `Postgres could not be asked about the slot: ${slot.problem}`,
        hint: ERRORS.database_unreachable.hint,
        remedy: { language: 'shell', text: 'sno doctor' },
        panel: 'slot',
      },
    ];
  if (slot.status === 'missing')
    return [
      {
        level: 'failing',
        code: 'slot_missing',
        message: `Postgres has no replication slot ${slot.name}`,
        hint: 'Snö makes it when it connects. If it is missing for long, the log says what prevents that.',
        remedy: { language: 'shell', text: 'sno doctor' },
        panel: 'slot',
      },
    ];
  return [...heldCauses(slot), ...transactionCauses(slot), ...behindCauses(slot)];
}

/** Whether an open transaction holds more of the WAL back than what Snö has not confirmed. */
function isHeldBack({ heldBytes, unconfirmedBytes }: Slot): boolean {
  return heldBytes !== null && unconfirmedBytes !== null && heldBytes - unconfirmedBytes > heldBytes * BLAMED;
}

function heldCauses(slot: Slot): Cause[] {
  const { level, heldBytes, leftBytes, secondsLeft, status, boundBytes, postgresLeftBytes, policy } = slot;
  if (heldBytes === null) return [];
  if (boundBytes === null && postgresLeftBytes === null)
    return [
      {
        level: 'notice',
        code: 'slot_unbounded',
        message: 'neither Snö nor Postgres bounds the WAL that the slot holds: it can fill the disk',
        hint: 'Set max_slot_wal_keep_size to what the disk can spare, and SNO_SLOT_WAL_BYTES below it.',
        remedy: {
          language: 'sql',
          text: "alter system set max_slot_wal_keep_size = '10GB';\nselect pg_reload_conf();",
        },
        panel: 'slot',
      },
    ];
  const isLosing = status === 'unreserved' || status === 'lost';
  if (level === 'fine' && !isLosing) return [];
  const room = leftBytes === null ? '' : `, with room for ${sizeText(leftBytes)} more`;
  const time = secondsLeft === null ? '' : `, which is ${timeText(secondsLeft)} at the current rate`;
  const end = isLosing
    ? ': beyond max_slot_wal_keep_size, and Postgres gives it up at its next checkpoint'
    : level === 'full'
      ? `: at the bound, and Snö ${policy === 'hold' ? 'keeps it until the disk is full (SNO_SLOT_WAL_POLICY=hold)' : 'gives it up'}`
      : `${room}${time}`;
  const [oldest] = slot.transactions;
  const blamed = oldest !== undefined && isHeldBack(slot) ? oldest : undefined;
  return [
    {
      level: level === 'full' || isLosing ? 'failing' : 'degraded',
      code: 'slot_wal_exceeded',
      message: `the slot holds ${sizeText(heldBytes)} of WAL${end}${causeOf(slot, blamed)}`,
      hint: ERRORS.slot_wal_exceeded.hint,
      ...(blamed === undefined ? {} : { remedy: blamed.remedy }),
      panel: 'slot',
    },
  ];
}

function causeOf({ isActive }: Slot, blamed: OpenTransaction | undefined): string {
  if (!isActive) return '. No process reads it';
  if (blamed !== undefined) return `. The oldest open transaction holds it back: ${textOf(blamed)}`;
  return '';
}

function transactionCauses(slot: Slot): Cause[] {
  const [oldest] = slot.transactions;
  if (oldest === undefined || oldest.ageSeconds < LONG_SECONDS) return [];
  // The cause for the held WAL names it already.
  if (slot.level !== 'fine' && isHeldBack(slot)) return [];
  return [
    {
      level: 'notice',
      code: 'transaction_long',
      message: `a transaction is open for ${timeText(oldest.ageSeconds)}: ${textOf(oldest)}. Postgres keeps the WAL since its beginning`,
      hint: 'End it if it was forgotten. idle_in_transaction_session_timeout ends such sessions.',
      remedy: oldest.remedy,
      panel: 'slot',
    },
  ];
}

function behindCauses({ walLagBytes, isCaughtUp }: Slot): Cause[] {
  if (walLagBytes === null || walLagBytes < BEHIND_BYTES || isCaughtUp === false) return [];
  return [
    {
      level: 'degraded',
      code: 'stream_behind',
      message: `Snö has not read ${sizeText(walLagBytes)} of WAL: events arrive late`,
      hint: 'The database writes faster than Snö reads. If it lasts, look at the CPU time of the process, and at views that Postgres evaluates.',
      panel: 'rates',
    },
  ];
}

function textOf({ kind, pid, gid, user, application, state, waitsFor }: OpenTransaction): string {
  const of = user === null ? '' : ` of ${user}`;
  if (kind === 'prepared') return `the prepared transaction ${JSON.stringify(gid)}${of}`;
  const by = application === null || application === '' ? '' : ` (${application})`;
  const waits = waitsFor === null ? '' : `, waits for ${waitsFor}`;
  return `pid ${pid}${of}${by}, ${state ?? 'state unknown'}${waits}`;
}
