/** The replication slot: the WAL that Postgres keeps for Snö, and what keeps it from shrinking. */
import type { OpenTransaction, Slot } from '../../api/types.ts';
import { type Child, element } from '../dom/element.ts';
import { bytes, bytesPerSecond, count, duration } from '../format.ts';
import { copyable } from '../parts/copy.ts';
import { badge, empty, facts, meter, type Tone, table } from '../parts/parts.ts';

const STATUSES: Readonly<Record<Slot['status'], readonly [text: string, tone: Tone | undefined]>> = {
  reserved: ['reserved', 'good'],
  extended: ['extended', 'warn'],
  unreserved: ['unreserved', 'bad'],
  lost: ['lost', 'bad'],
  missing: ['missing', 'bad'],
  unknown: ['unknown', undefined],
};
const LEVEL_TONES: Readonly<Record<Slot['level'], Tone>> = { fine: 'ice', filling: 'warn', full: 'bad' };

export function slotPanel(slot: Slot): readonly Child[] {
  const { heldBytes, boundBytes, leftBytes, level } = slot;
  const room = leftBytes === null ? undefined : (heldBytes ?? 0) + leftBytes;
  const text =
    room === undefined
      ? `${bytes(heldBytes)} of WAL held, without a bound`
      : `${bytes(heldBytes)} of WAL held, ${bytes(leftBytes)} left`;
  return [
    slot.problem !== null && element('p', { class: 'fault' }, slot.problem),
    element(
      'p',
      { class: 'held' },
      element('strong', {}, bytes(heldBytes)),
      ' of WAL held',
      room === undefined ? ', without a bound' : ` of ${bytes(room)}`,
    ),
    room !== undefined &&
      meter({ label: 'WAL held', value: heldBytes ?? 0, max: room, text, tone: LEVEL_TONES[level] }),
    facts(
      ['Time left at this rate', timeLeft(slot)],
      ['Growth', slot.growthBytesPerSecond === null ? '–' : bytesPerSecond(slot.growthBytesPerSecond)],
      ['Status', badge(...STATUSES[slot.status])],
      ['Slot', element('code', {}, slot.name)],
      ['Read by', slot.holder?.text ?? (slot.isActive ? 'a process' : 'no process')],
      ['Not read yet', bytes(slot.walLagBytes)],
      ['After the confirmed position', bytes(slot.unconfirmedBytes)],
      ['Bound of Snö', boundBytes === null ? 'no bound' : `${bytes(boundBytes)}, then ${policyText(slot.policy)}`],
      ['Room by Postgres', slot.postgresLeftBytes === null ? 'no bound' : bytes(slot.postgresLeftBytes)],
      ['Failover', failoverText(slot.failover)],
      ['Caught up', slot.isCaughtUp === null ? '–' : slot.isCaughtUp ? 'yes' : 'not yet'],
      ['Histories so far', count(slot.generation)],
      ['Restart, confirmed', `${slot.restartLsn ?? '–'}, ${slot.confirmedLsn ?? '–'}`],
      ['Epoch', element('code', {}, slot.epoch ?? '–')],
    ),
    element('h3', {}, 'Oldest open transactions'),
    transactions(slot.transactions),
  ];
}

const policyText = (policy: Slot['policy']) => (policy === 'give_up' ? 'Snö gives it up' : 'Snö holds it');

function timeLeft({ secondsLeft, growthBytesPerSecond }: Slot): string {
  if (secondsLeft !== null) return duration(secondsLeft);
  return growthBytesPerSecond !== null && growthBytesPerSecond <= 0 ? 'does not grow' : '–';
}

function failoverText({ isSupported, isEnabled, isSynced }: Slot['failover']): string {
  if (!isSupported) return 'needs Postgres 17';
  if (isEnabled !== true) return isEnabled === null ? 'unknown' : 'off';
  return isSynced === true ? 'on, and this slot is a copy' : 'on: standbys may copy it';
}

function transactions(open: readonly OpenTransaction[]): HTMLElement {
  if (open.length === 0) return empty('No transaction holds WAL back.');
  return table({
    caption: 'Oldest open transactions',
    columns: [
      {
        title: 'Process',
        cell: ({ pid, gid }) => element('code', {}, pid === null ? `prepared ${gid ?? ''}` : `pid ${pid}`),
      },
      { title: 'Open for', cell: ({ ageSeconds }) => duration(ageSeconds), isNumber: true },
      { title: 'State', cell: (transaction) => stateText(transaction) },
      { title: 'User', cell: ({ user }) => user ?? '–' },
      { title: 'Application', cell: ({ application }) => application || '–' },
      { title: 'To end it', cell: ({ remedy }) => copyable(remedy.text) },
    ],
    rows: open,
    keyOf: ({ pid, gid }) => String(pid ?? gid),
    empty: '',
  });
}

function stateText({ state, stateSeconds, waitsFor }: OpenTransaction): string {
  const parts = [state ?? 'not visible to this role'];
  if (stateSeconds !== null) parts.push(`for ${duration(stateSeconds)}`);
  if (waitsFor !== null) parts.push(`waits for ${waitsFor}`);
  return parts.join(', ');
}
