/**
 * The views that join, written a second time in TypeScript. The model keeps all rows, and finds the
 * rows that a change concerns by looking at every item.
 */
import type { Row } from './model.ts';
import type { RowChange } from './wal.ts';

/** Names of the joined channels without their room. */
export const JOINED = ['owned', 'board'] as const;

export const OWNERS = 12;

export const JOINED_TABLES = `
  create table owners (id int primary key, name text not null, blocks int);
  alter table owners replica identity full;
  create index on owners (blocks);`;

export const JOINED_VIEWS = `
  create view channels."owned:{room}" as
    select i.id, i.room, i.amount, o.name as owner from items i left join owners o on o.id = i.owner where not i.done;
  -- Postgres evaluates the joined rows
  create view channels."board:{room}" as
    select i.id, i.room, to_char(i.amount, 'FM990.0') as told, o.name as owner from items i join owners o on o.id = i.owner
    where not exists (select from owners b where b.blocks = i.id);`;

export const isJoined = (channel: string): boolean => JOINED.some((name) => channel.startsWith(`${name}:`));

/** A row of a joined view. Undefined: the view does not have it. */
type Shown = Readonly<Record<string, unknown>> | undefined;

/** What a change does to a row of a channel. `data`: undefined if the row is gone. */
export interface JoinedChange {
  readonly channel: string;
  readonly key: string;
  readonly data: string | undefined;
}

export class JoinedModel {
  readonly #items = new Map<string, Row>();
  readonly #owners = new Map<string, Row>();

  /** Applies the next change of the history. */
  *apply(change: RowChange): Generator<JoinedChange> {
    const table = change.table === 'items' ? this.#items : change.table === 'owners' ? this.#owners : undefined;
    if (table === undefined) return;
    const concerned = this.#concerned(change);
    const before = concerned.map((id) => this.#shown(id));
    if (change.before !== undefined) table.delete(change.before['id'] as string);
    if (change.after !== undefined) table.set(change.after['id'] as string, change.after);
    for (const [index, id] of concerned.entries()) {
      const after = this.#shown(id);
      for (const [at, name] of JOINED.entries()) yield* difference(name, before[index]?.[at], after[at]);
    }
  }

  #concerned({ table, before, after }: RowChange): string[] {
    const ids = new Set<string>();
    for (const row of [before, after]) {
      if (row === undefined) continue;
      if (table === 'items') ids.add(row['id'] as string);
      else for (const [id, { owner }] of this.#items) if (owner === row['id'] || id === row['blocks']) ids.add(id);
    }
    return [...ids];
  }

  /** The item in each joined view. */
  #shown(id: string): readonly Shown[] {
    const item = this.#items.get(id);
    if (item === undefined) return [undefined, undefined];
    const { room, amount, done, owner } = item;
    const name = owner == null ? undefined : this.#owners.get(owner)?.['name'];
    const own = { id: Number(id), room: Number(room) };
    const isBlocked = [...this.#owners.values()].some(({ blocks }) => blocks === id);
    return [
      done === 'f' ? { ...own, amount: Number(amount), owner: name ?? null } : undefined,
      name === undefined || isBlocked ? undefined : { ...own, told: `${amount}.0`, owner: name },
    ];
  }
}

function* difference(name: string, before: Shown, after: Shown): Generator<JoinedChange> {
  const place = (shown: NonNullable<Shown>) => ({
    channel: `${name}:${shown['room']}`,
    key: JSON.stringify({ id: shown['id'] }),
  });
  const [old, now] = [before && place(before), after && place(after)];
  if (old !== undefined && old.channel !== now?.channel) yield { ...old, data: undefined };
  // an update that changes no visible column is no event
  if (now !== undefined && JSON.stringify(before) !== JSON.stringify(after))
    yield { ...now, data: JSON.stringify(after) };
}
