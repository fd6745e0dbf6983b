import type { MachineInfo, Processes, ProcessInfo } from '../../api/types.ts';
import { type Child, element } from '../dom/element.ts';
import { ago, bytes, count, duration, short } from '../format.ts';
import { badge, facts, panel, type Tone, table, withData } from '../parts/parts.ts';
import type { Polls, Source } from '../poll.ts';
import type { View } from '../view.ts';

const PROCESSES: Source<Processes> = { key: 'processes', everyMs: 3_000, path: () => 'api/processes' };
const STATES: Readonly<Record<ProcessInfo['state'], Tone>> = { serving: 'good', starting: 'ice', silent: 'bad' };
const ROLES: Readonly<Record<MachineInfo['role'], string>> = {
  all: 'all: reads the WAL and serves clients',
  ingest: 'ingest: reads the WAL',
  gateway: 'gateway: serves clients',
};

export class ProcessesView implements View {
  readonly id = 'processes';
  readonly title = 'Processes';
  readonly #polls: Polls;

  constructor(polls: Polls) {
    this.#polls = polls;
  }

  sources(): readonly Source<unknown>[] {
    return [PROCESSES];
  }

  draw(): readonly Child[] {
    const known = this.#polls.get(PROCESSES);
    return [
      panel(
        { id: 'processes', title: 'Processes of this machine' },
        ...withData(known, ({ processes }) => [processTable(processes)]),
      ),
      panel(
        {
          id: 'machine',
          title: 'Machines',
          note: 'This is one machine. The others have an admin port of their own.',
        },
        ...withData(known, ({ machine }) => machineFacts(machine)),
      ),
    ];
  }
}

function processTable(processes: readonly ProcessInfo[]): HTMLElement {
  return table({
    caption: 'Processes of this machine',
    columns: [
      { title: 'Process', cell: ({ kind, worker }) => (kind === 'main' ? 'main' : `worker ${worker ?? ''}`) },
      { title: 'State', cell: ({ state }) => badge(state, STATES[state]) },
      { title: 'pid', cell: ({ pid }) => (pid === null ? '–' : String(pid)), isNumber: true },
      { title: 'Connections', cell: ({ connections }) => count(connections), isNumber: true },
      { title: 'Subscriptions', cell: ({ subscriptions }) => count(subscriptions), isNumber: true },
      { title: 'CPU, cores', cell: ({ cpuCores }) => short(cpuCores), isNumber: true },
      { title: 'CPU time', cell: ({ cpuSeconds }) => duration(cpuSeconds), isNumber: true },
      { title: 'Memory', cell: ({ rssBytes }) => bytes(rssBytes), isNumber: true },
      { title: 'Heap', cell: ({ heapBytes }) => bytes(heapBytes), isNumber: true },
      { title: 'Stream waiting', cell: ({ backlogBytes }) => bytes(backlogBytes), isNumber: true },
      { title: 'Started', cell: ({ startedAt }) => ago(startedAt) },
    ],
    rows: processes,
    keyOf: ({ kind, worker }) => `${kind} ${worker ?? ''}`,
    empty: 'No process has answered.',
  });
}

function machineFacts({ role, isIngesting, holder, relay }: MachineInfo): readonly Child[] {
  const common = [
    ['Role', ROLES[role]],
    ['Reads the WAL', isIngesting ? 'this process' : 'another process'],
    ['Slot read by', holder?.text ?? 'no process'],
  ] as const;
  if (relay === null) return [facts(...common, ['NATS', 'not used: one machine'])];
  return [
    relay.fault !== null && element('p', { class: 'fault' }, relay.fault),
    facts(
      ...common,
      ['NATS', relay.isConnected ? `connected to ${relay.server ?? 'a server'}` : badge('not connected', 'bad')],
      ['Stream', element('code', {}, relay.stream)],
      ['Serves clients', relay.isCutOff ? badge('no: cut off from the stream', 'bad') : 'yes'],
      ['Last message', relay.silenceSeconds === null ? '–' : `${duration(relay.silenceSeconds)} ago`],
      ['Not arrived yet', `${count(relay.lagMessages)} messages`],
      ['Sequence here', count(relay.sequence)],
      ['Kept by the stream', `${count(relay.streamMessages)} messages, ${bytes(relay.streamBytes)}`],
      ['Oldest kept message', duration(relay.streamAgeSeconds)],
      ['Published, not confirmed', bytes(relay.unconfirmedBytes)],
    ),
  ];
}
