/**
 * Computes the content of every channel after every commit, from the commits alone. Has the views'
 * definitions a second time, in TypeScript.
 */
import { createHash } from 'node:crypto';
import { JOINED, JOINED_TABLES, JOINED_VIEWS, JoinedModel } from './joined.ts';
import type { WalCommit } from './wal.ts';

/** A row as Postgres prints it. */
export type Row = Readonly<Record<string, string | null>>;

export const ROOMS = 4;

/** Names of the channels without their room. */
const NAMES: readonly string[] = ['items', 'told', 'ledger', 'talk', ...JOINED];

export const SCHEMA = `
  create table items (id int primary key, room int not null, amount numeric not null, note text, done boolean not null default false, owner int);
  alter table items replica identity full;
  create index on items (owner);
  ${JOINED_TABLES}
  create table ledger (entry bigint primary key, room int not null, writer int not null, said boolean not null);
  alter table ledger replica identity full;
  create schema channels;
  create schema channel_access;
  create view channels."items:{room}" as select id, room, amount, note from items where not done and amount > 0;
  -- to_char() is evaluated by Postgres, the other views in process
  create view channels."told:{room}" as select id, room, to_char(amount, 'FM990.0') as told from items where md5(note) < 'c' or note is null;
  create view channels."ledger:{room}" as select entry, room, writer from ledger;
  ${JOINED_VIEWS}
  -- of messages alone
  ${NAMES.map((name) => `create view channel_access."${name}:{room}" as select generate_series(0, ${ROOMS - 1}) as room;`).join('\n')}
`;

interface View {
  readonly table: string;
  readonly key: string;
  /** The view's row as it is sent. Undefined if the view does not contain the row. */
  readonly row: (row: Row) => Readonly<Record<string, unknown>> | undefined;
}

const VIEWS: Readonly<Record<string, View>> = {
  items: {
    table: 'items',
    key: 'id',
    row: ({ id, room, amount, note, done }) =>
      done === 'f' && Number(amount) > 0
        ? { id: Number(id), room: Number(room), amount: Number(amount), note }
        : undefined,
  },
  told: {
    table: 'items',
    key: 'id',
    row: ({ id, room, amount, note }) =>
      note === null ||
      createHash('md5')
        .update(note as string)
        .digest('hex') < 'c'
        ? { id: Number(id), room: Number(room), told: `${amount}.0` }
        : undefined,
  },
  ledger: {
    table: 'ledger',
    key: 'entry',
    row: ({ entry, room, writer }) => ({ entry: Number(entry), room: Number(room), writer: Number(writer) }),
  },
};

export const CHANNELS: readonly string[] = NAMES.flatMap((name) =>
  Array.from({ length: ROOMS }, (_, room) => `${name}:${room}`),
);

/**
 * The effect of one commit on one channel, in one frame: rows by their key (undefined: deleted), or
 * a message.
 */
export interface Effect {
  readonly lsn: number;
  readonly xid: number;
  readonly rows?: ReadonlyMap<string, string | undefined>;
  readonly message?: string;
}

/** The message that is sent with a ledger row. */
const messageOf = (entry: number): string => JSON.stringify({ entry });

/**
 * One sequence of commits. A promoted standby begins a new one, without the commits that it lacked.
 */
export class History {
  readonly commits: readonly WalCommit[];
  readonly #effects: ReadonlyMap<string, readonly Effect[]>;

  constructor(commits: readonly WalCommit[]) {
    this.commits = commits;
    const lists = new Map(CHANNELS.map((channel) => [channel, [] as Effect[]]));
    const joined = new JoinedModel();
    for (const commit of commits)
      for (const [channel, effects] of effectsOf(commit, joined)) lists.get(channel)?.push(...effects);
    this.#effects = lists;
  }

  /** Effects in commit order. */
  effects(channel: string): readonly Effect[] {
    return this.#effects.get(channel) as readonly Effect[];
  }

  /** Effects of all channels, one channel after the other. */
  *everything(): Iterable<Effect> {
    for (const effects of this.#effects.values()) yield* effects;
  }

  /** The rows of a channel after all commits up to a position. */
  rowsAt(channel: string, lsn: number): Map<string, string> {
    const rows = new Map<string, string>();
    for (const effect of this.effects(channel)) {
      if (effect.lsn > lsn) break;
      for (const [key, data] of effect.rows ?? []) {
        if (data === undefined) rows.delete(key);
        else rows.set(key, data);
      }
    }
    return rows;
  }
}

function effectsOf({ lsn, xid, changes }: WalCommit, joined: JoinedModel): Map<string, Effect[]> {
  const rows = new Map<string, Map<string, string | undefined>>();
  const messages = new Map<string, Effect[]>();
  const set = (channel: string, key: string, data: string | undefined) => {
    const changed = rows.get(channel) ?? new Map<string, string | undefined>();
    rows.set(channel, changed.set(key, data));
  };
  for (const change of changes) {
    const { table, before, after } = change;
    for (const { channel, key, data } of joined.apply(change)) set(channel, key, data);
    for (const [name, view] of Object.entries(VIEWS)) {
      if (view.table !== table) continue;
      const [old, now] = [placed(name, view, before), placed(name, view, after)];
      if (old !== undefined && (old.channel !== now?.channel || old.key !== now.key))
        set(old.channel, old.key, undefined);
      // an update that changes no visible column is no event
      if (now !== undefined && JSON.stringify(old) !== JSON.stringify(now)) set(now.channel, now.key, now.data);
    }
    if (table === 'ledger' && after?.['said'] === 't') {
      const channel = `talk:${after['room']}`;
      const message = messageOf(Number(after['entry']));
      messages.set(channel, [...(messages.get(channel) ?? []), { lsn, xid, message }]);
    }
  }
  // a channel has either rows or messages
  const effects = messages;
  for (const [channel, changed] of rows) effects.set(channel, [{ lsn, xid, rows: changed }]);
  return effects;
}

function placed(name: string, view: View, row: Row | undefined) {
  const data = row && view.row(row);
  if (data === undefined) return undefined;
  const key = JSON.stringify({ [view.key]: data[view.key] });
  return { channel: `${name}:${data['room']}`, key, data: JSON.stringify(data) };
}
