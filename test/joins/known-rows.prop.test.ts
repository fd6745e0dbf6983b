/**
 * Known rows, undo and the join stage, against a model in memory: lookups are answered by a
 * snapshot of a later time, which need not see commits in their order.
 */
import { expect, test } from 'vitest';
import type { CatalogTable, CatalogTableColumn } from '../../src/channels/catalog/catalog.ts';
import { parsePattern } from '../../src/channels/catalog/pattern.ts';
import type { ChannelView } from '../../src/channels/channel.ts';
import type { JoinPlan } from '../../src/channels/join-plan.ts';
import { Joins } from '../../src/channels/joins/joins.ts';
import { type Change, type KnownIndex, KnownTable, type RowSet, undo } from '../../src/channels/joins/known-rows.ts';
import { KeptRow } from '../../src/channels/joins/row.ts';
import { JoinStage } from '../../src/channels/joins/stage.ts';
import type { ChangeHandler } from '../../src/decode/change.ts';
import type { Relation } from '../../src/decode/relation.ts';
import { TEXT, Tuple } from '../../src/decode/tuple.ts';
import { tupleOf } from '../channels/rows.ts';
import { Draw } from './random-joins.ts';

const TABLES = [1, 2, 3];
const COLUMNS = ['id', 'r', 'b'];
const INT = 23;

const catalogTable = (oid: number) =>
  ({
    oid,
    schema: 'public',
    name: `t${oid}`,
    columns: COLUMNS.map((name, index) => ({ name, number: index + 1, typeOid: INT })),
  }) as unknown as CatalogTable;

/**
 * Each table joins one before it: by its id, which that one's `r` or `id` names. Subqueries look
 * for rows with an equal column, for rows with a NULL, or for any row if a column outside is NULL.
 */
function randomPlan(random: Draw): JoinPlan {
  const [joined, tested] = [random.int(1, 3), random.int(0, 2)];
  const tables = Array.from({ length: joined + tested }, (_, index) => {
    const table = catalogTable(random.pick(TABLES));
    return { table, alias: `x${index}`, columns: table.columns as CatalogTableColumn[], key: [1], offset: index * 3 };
  });
  const R = tables[0]?.columns[1] as CatalogTableColumn;
  const steps = tables.slice(1).map((_, at) => {
    const to = at + 1;
    const isTest = to >= joined;
    const kind = isTest ? ('exists' as const) : random.pick(['inner', 'left'] as const);
    const isPaired = !isTest || random.chance(0.4);
    const key = isTest ? random.pick([1, 2, 3]) : 1;
    const isNullInside = random.chance(0.5);
    return {
      kind,
      to,
      from: random.int(0, Math.min(at, joined - 1)),
      pairs: isPaired ? [{ from: random.pick([2, 2, 2, 1]), key, type: 'bigint' }] : [],
      condition: undefined,
      nullIn: isPaired || !isNullInside ? undefined : 2,
      nullFrom: isPaired || isNullInside ? undefined : 2,
      answer: isTest ? tables.length * COLUMNS.length + to - joined : undefined,
    };
  });
  const answers = steps.flatMap(({ answer }) => (answer === undefined ? [] : R));
  return {
    relation: 2 ** 32 + 1,
    tables,
    steps,
    columns: [...tables.flatMap(({ columns }) => columns), ...answers],
    computed: [],
    asked: undefined,
  };
}

/** The texts of a row's columns. */
type Row = readonly (string | null)[];
type State = ReadonlyMap<number, Map<string, Row>>;
interface ModelChange {
  readonly oid: number;
  readonly oldRow: Row | undefined;
  readonly newRow: Row | undefined;
}

const emptyState = (): State => new Map(TABLES.map((oid) => [oid, new Map()]));
const copyState = (state: State): State => new Map([...state].map(([oid, rows]) => [oid, new Map(rows)]));

function applyTo(state: State, { oid, oldRow, newRow }: ModelChange): void {
  if (oldRow !== undefined) state.get(oid)?.delete(oldRow[0] as string);
  if (newRow !== undefined) state.get(oid)?.set(newRow[0] as string, newRow);
}

function randomCommit(random: Draw, state: State): ModelChange[] {
  const changes: ModelChange[] = [];
  for (let count = random.int(1, 3); count > 0; count--) {
    const oid = random.pick(TABLES);
    const rows = state.get(oid) as Map<string, Row>;
    const id = String(random.int(0, 5));
    const oldRow = rows.get(id);
    const fresh = random.chance(0.2) ? String(random.int(0, 5)) : id;
    const newId = rows.has(fresh) ? id : fresh;
    const newRow = random.chance(oldRow === undefined ? 0 : 0.3)
      ? undefined
      : [newId, random.chance(0.2) ? null : String(random.int(0, 5)), String(random.int(0, 2))];
    const change = { oid, oldRow, newRow };
    changes.push(change);
    applyTo(state, change);
  }
  return changes;
}

/** The joined rows as they should be, by the base row's key. */
function naive({ tables, steps }: JoinPlan, state: State): ReadonlyMap<string, string> {
  const joined = new Map<string, string>();
  for (const base of state.get(tables[0]?.table.oid as number)?.values() ?? []) {
    const rows: (Row | undefined)[] = [base];
    const answers: string[] = [];
    let isIn = true;
    for (const { kind, to, from, pairs, nullIn, nullFrom } of steps) {
      const others = [...(state.get(tables[to]?.table.oid as number)?.values() ?? [])];
      const [pair] = pairs;
      const value = rows[from]?.[(pair?.from ?? 0) - 1];
      const found = others.filter((row) => {
        if (pair !== undefined) return value != null && row[pair.key - 1] === value;
        return rows[from] !== undefined && (nullIn === undefined || row[1] === null);
      });
      if (kind === 'exists')
        answers.push(found.length > 0 && (nullFrom === undefined || rows[from]?.[1] === null) ? 't' : 'f');
      else if (found.length > 0) rows[to] = found[0];
      else if (kind === 'inner') isIn = false;
    }
    const cells = tables.flatMap((_, place) => [...(rows[place] ?? [null, null, null])]);
    if (isIn) joined.set(base[0] as string, JSON.stringify([...cells, ...answers]));
  }
  return joined;
}

/** Holds what the stage tells of the joined rows. */
class Held implements ChangeHandler {
  readonly rows = new Map<string, string>();
  readonly #relation: number;

  constructor(relation: number) {
    this.#relation = relation;
  }

  begin(): void {}
  relation(): void {}
  truncate(): void {}
  message(): void {}
  commit(): void {}

  insert({ oid }: Relation, newRow: Tuple): void {
    if (oid === this.#relation) this.#set(undefined, newRow);
  }

  update({ oid }: Relation, oldRow: Tuple | undefined, newRow: Tuple): void {
    if (oid === this.#relation) this.#set(oldRow, newRow);
  }

  delete({ oid }: Relation, oldRow: Tuple): void {
    if (oid === this.#relation) this.#set(oldRow, undefined);
  }

  #set(oldRow: Tuple | undefined, newRow: Tuple | undefined): void {
    const [before, after] = [oldRow && cellsOf(oldRow), newRow && cellsOf(newRow)];
    if (before !== undefined) {
      expect(this.rows.get(before[0] as string)).toBe(JSON.stringify(before));
      this.rows.delete(before[0] as string);
    }
    if (after !== undefined) this.rows.set(after[0] as string, JSON.stringify(after));
  }
}

const cellsOf = (tuple: Tuple) =>
  [...tuple.kinds].map((kind, at) =>
    kind === TEXT ? tuple.buffer.toString('utf8', tuple.starts[at] as number, tuple.ends[at] as number) : null,
  );

/**
 * A part that is left out on purpose. `overlap`: a snapshot counts as a beginning of the commits.
 */
type Mutant = 'undo' | 'apply' | 'overlap' | undefined;

function play(seed: number, mutant: Mutant): void {
  const random = new Draw(seed);
  const plan = randomPlan(random);
  const pattern = parsePattern('rows') as ChannelView['pattern'];
  const joins = new Joins([{ pattern, join: plan } as ChannelView]);
  if (mutant === 'apply') for (const table of joins.tables) table.apply = () => undefined;
  const held = new Held(plan.relation);
  const stage = new JoinStage({
    joins: () => joins,
    givenUp: () => new Map(),
    isFresh: () => true,
    rowsMax: 1_000,
    sink: { redefined: () => undefined, touched: () => undefined },
    next: held,
    onBegin: () => undefined,
    onReset: (_, why, detail) => expect.fail(`${why}: ${detail}`),
  });
  const relations = new Map(TABLES.map((oid) => [oid, relationOf(oid)]));
  for (const relation of relations.values()) stage.relation(relation);
  const commits: ModelChange[][] = [];
  const written = emptyState();
  for (let count = 0; count < 40; count++) commits.push(randomCommit(random, written));
  const known = (change: ModelChange): Change | undefined => {
    const table = joins.table(change.oid);
    const [oldRow, newRow] = [change.oldRow, change.newRow].map((row) => row && KeptRow.of(row));
    return table && { table, oldRow, newRow };
  };
  const state = emptyState();
  for (let at = 0; at < commits.length; ) {
    const end = Math.min(commits.length, at + random.int(1, 4));
    const later = commits.slice(at, Math.min(commits.length, end + random.int(0, 6)));
    const seen = seenBy(random, later);
    const undone = mutant === 'overlap' ? seen.filter((commit, index) => commit === later[index]) : seen;
    const snapshot = copyState(state);
    for (const change of seen.flat()) applyTo(snapshot, change);
    const changes = commits
      .slice(at, end)
      .flat()
      .flatMap((change) => known(change) ?? []);
    for (const change of changes) expect(joins.lacks(change)).toBe(joins.missing([change], new Set()).size > 0);
    for (
      let missing = joins.missing(changes, new Set());
      missing.size > 0;
      missing = joins.missing(changes, new Set())
    ) {
      const found = new Map<KnownIndex, Map<string, RowSet>>();
      for (const [index, values] of missing)
        found.set(index, new Map([...values.keys()].map((value) => [value, answer(snapshot, index, value)])));
      if (mutant !== 'undo')
        undo(
          found,
          undone.flat().flatMap((change) => known(change) ?? []),
        );
      for (const [index, lookups] of found) for (const [value, rows] of lookups) index.fill(value, rows);
    }
    for (const commit of commits.slice(at, end)) {
      stage.begin(1, 1, 1);
      for (const { oid, oldRow, newRow } of commit) {
        const relation = relations.get(oid) as Relation;
        const [before, after] = [oldRow && tupleOf(oldRow), newRow && tupleOf(newRow)];
        if (before !== undefined && after !== undefined) stage.update(relation, before, after);
        else if (before !== undefined) stage.delete(relation, before);
        else if (after !== undefined) stage.insert(relation, after);
      }
      stage.commit(2);
      for (const change of commit) applyTo(state, change);
      expect(sorted(held.rows)).toEqual(sorted(naive(plan, state)));
    }
    const [dropped, size] = [joins.dropped, lookupsOf(joins)];
    joins.tidy(random.pick([0, 1_000, 1_000_000]));
    expect(joins.dropped > dropped).toBe(lookupsOf(joins) < size);
    at = end;
  }
}

/** A beginning of the commits, and later ones that touch no row that an unseen one touches. */
function seenBy(random: Draw, commits: readonly ModelChange[][]): ModelChange[][] {
  const prefix = random.int(0, commits.length);
  const unseen = new Set<string>();
  return commits.filter((commit, index) => {
    const rows = commit.flatMap(({ oid, oldRow, newRow }) =>
      [oldRow, newRow].flatMap((row) => (row === undefined ? [] : `${oid} ${row[0]}`)),
    );
    if (index < prefix || (random.chance(0.5) && !rows.some((row) => unseen.has(row)))) return true;
    for (const row of rows) unseen.add(row);
    return false;
  });
}

function lookupsOf(joins: Joins): number {
  let count = 0;
  for (const { indexes } of joins.tables) for (const { size } of indexes) count += size;
  return count;
}

function answer(state: State, index: KnownIndex, value: string): RowSet {
  const rows = [...(state.get(index.table.table.oid)?.values() ?? [])].map(KeptRow.of);
  return new Map(rows.filter((row) => index.valueOf(row) === value).map((row) => [row.text(0) as string, row]));
}

function relationOf(oid: number): Relation {
  const columns = COLUMNS.map((name) => ({ name, typeOid: INT, typeModifier: -1, identity: true }));
  const tuple = () => new Tuple(COLUMNS.length);
  return {
    oid,
    schema: 'public',
    name: `t${oid}`,
    replicaIdentity: 'f',
    columns,
    wanted: true,
    oldRow: tuple(),
    newRow: tuple(),
  };
}

const sorted = (rows: ReadonlyMap<string, string>) => [...rows].sort();
const SEEDS = Number(process.env['JOIN_SEEDS'] ?? 150);

test('joined rows are exact at each commit, whatever later snapshot answered', () => {
  for (let seed = 1; seed <= SEEDS; seed++) play(seed, undefined);
});

test.each(['undo', 'apply', 'overlap'] as const)('a mutant without %s is caught', (mutant) => {
  const seeds = Array.from({ length: 30 }, (_, seed) => seed + 1);
  const isCaught = (seed: number) => {
    try {
      play(seed, mutant);
      return false;
    } catch {
      return true;
    }
  };
  expect(seeds.filter(isCaught).length).toBeGreaterThan(5);
});

test('a lookup counts the bytes of a row that the WAL makes larger or smaller', () => {
  const catalog = catalogTable(1);
  const table = new KnownTable(catalog, catalog.columns, [1]);
  const index = table.index([1], ['bigint']);
  index.isKept = true;
  index.fill('1', new Map());
  const empty = index.bytes;
  const [small, large] = [KeptRow.of(['1', null, 'x']), KeptRow.of(['1', null, 'x'.repeat(10_000)])];
  table.apply(undefined, large);
  expect(index.bytes).toBeGreaterThan(empty + 10_000);
  table.apply(large, small);
  expect(index.bytes).toBeLessThan(empty + 1_000);
  table.apply(small, undefined);
  expect(index.bytes).toBe(empty);
  table.apply(undefined, large);
  index.truncate();
  expect(index.bytes).toBe(empty);
  table.apply(undefined, large);
  index.evict(0);
  expect([index.size, index.bytes]).toEqual([0, 0]);
});
