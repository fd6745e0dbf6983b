/**
 * Compares `data` with Postgres's row_to_json, byte for byte, for every type: random rows as the
 * WAL has them.
 */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { RemoteQuery } from '../../src/channels/channel.ts';
import { RemoteAsker } from '../../src/channels/remote/ask.ts';
import { loadParser } from '../../src/channels/sql/parse.ts';
import { RowError } from '../../src/channels/values/row-error.ts';
import { ByteWriter } from '../../src/memory/byte-writer.ts';
import { createClient, createPool } from '../../src/postgres/connect.ts';
import { install } from '../support/install.ts';
import { freshDatabase, type TestDatabase, VERSIONS } from '../support/postgres.ts';
import { until } from '../support/wait.ts';
import { catalogOf, viewOf } from './compiled.ts';
import { createEveryType, everyColumn } from './every-type.ts';
import type { Column } from './values.ts';
import { walRows } from './wal-rows.ts';

const ROWS = Number(process.env['SNO_TEST_ROWS'] ?? 60);
const SEED = Number(process.env['SNO_TEST_SEED'] ?? 20_260);
/** A row must fit into a page, and its columns into a table. */
const COLUMNS_PER_TABLE = 40;
const BATCH = 50;
/** The ids lie beyond the rows of other tests. */
const FIRST = 1_000_000;

describe.each(VERSIONS)('every type, Postgres %i', (version) => {
  const columns = everyColumn(version);
  const tables = Array.from({ length: Math.ceil(columns.length / COLUMNS_PER_TABLE) }, (_, index) => ({
    name: `every_${index}`,
    columns: columns.slice(index * COLUMNS_PER_TABLE, (index + 1) * COLUMNS_PER_TABLE),
  }));
  let database: TestDatabase;
  beforeAll(async () => {
    await loadParser();
    database = await freshDatabase(version);
    await install(database);
    await database.query('set search_path = pg_catalog, public');
    await createEveryType(database);
    for (const { name, columns } of tables) {
      const list = columns.map((column) => `${column.name} ${column.type}`).join(', ');
      await database.query(`
        create table public.${name} (id int primary key, ${list});
        alter table public.${name} replica identity full;
        create view channels."${name}" as select * from public.${name}`);
    }
  });
  afterAll(() => database.drop());

  test('data equals row_to_json for rows from the WAL', { timeout: 60_000 + 200 * ROWS }, async () => {
    const catalog = await catalogOf(database);
    const views = tables.map(({ name }) => viewOf(catalog, name));
    expect(views.map(({ path }) => path)).toEqual(tables.map(() => 'in process'));
    const found: string[] = [];
    const unlike: string[] = [];
    const rows = await walRows(
      database,
      () => views,
      ({ bound, op, oldRow, newRow }) => {
        const data = [newRow, oldRow].flatMap((row) => (row === undefined ? [] : dataOf(bound, row)));
        if (op === 'insert') found.push(data[0] as string);
        if (op === 'update' && (data[0] !== data[1] || bound.differs(oldRow as never, newRow as never)))
          unlike.push(data.join('\n'));
      },
    );
    const client = createClient(database.url, 'oracle');
    await client.connect();
    try {
      for (let from = 0; from < ROWS; from += BATCH) {
        const count = Math.min(BATCH, ROWS - from);
        const expected: string[] = [];
        for (const [index, table] of tables.entries()) {
          await insert(
            database,
            table,
            from,
            fc.sample(randomRow(table.columns), { numRuns: count, seed: SEED + from * 31 + index }),
          );
          const { rows } = await client.query<{ data: string }>(
            `select row_to_json(v.*)::text as data from channels."${table.name}" v where id >= ${from} order by id`,
          );
          expected.push(...rows.map(({ data }) => data));
          await database.query(`update public.${table.name} set id = id where id >= ${from}`);
        }
        const due = (from + count) * tables.length * 2;
        await until(() => rows.error !== undefined || rows.count === due, `${due} rows came`, 60_000);
        expect(rows.error).toBeUndefined();
        expect(unlike).toEqual([]);
        expect(found).toHaveLength(expected.length);
        found.splice(0).forEach((data, index) => {
          if (data !== expected[index]) expect(differenceOf(data, expected[index] as string)).toBeUndefined();
        });
      }
    } finally {
      await client.end();
      await rows.stop();
    }
  });

  test("Postgres reads the WAL's text back as the same value", async () => {
    for (const { name, columns } of tables) {
      // types that print as names are not evaluated
      const shown = columns.filter(({ type }) => !/^(reg|aclitem)/.test(type)).map((column) => column.name);
      await database.query(
        `create view channels."remote_${name}" as select id, ${shown.join(', ')}, format('%s', id) as made from public.${name}`,
      );
    }
    const catalog = await catalogOf(database);
    const pool = createPool(database.url, 'oracle', 1);
    try {
      for (const { name, columns } of tables) {
        await insert(database, { name, columns }, FIRST, fc.sample(randomRow(columns), { numRuns: BATCH, seed: SEED }));
        const query = viewOf(catalog, `remote_${name}`).remote as RemoteQuery;
        const list = query.columns.map((column) => column.name).join(', ');
        const { rows } = await pool.query({
          text: `select ${list} from public.${name} where id >= ${FIRST} order by id`,
          rowMode: 'array',
        });
        const { rows: expected } = await pool.query<{ data: string }>(
          `select row_to_json(v.*)::text as data from channels."remote_${name}" v where id >= ${FIRST} order by id`,
        );
        expect(rows).toHaveLength(BATCH);
        const asker = new RemoteAsker({
          pool,
          pause: () => expect.unreachable(),
          onUnreachable: ({ message }) => expect.unreachable(message),
        });
        const answers = await asker.ask(query, {
          commits: rows.map((_, index) => index),
          keyOnly: rows.map(() => false),
          texts: query.columns.map((_, index) =>
            rows.map((row) => (row[index] == null ? null : Buffer.from(row[index]))),
          ),
        });
        answers.forEach((answer, index) => {
          if (answer instanceof RowError) throw answer;
          expect(differenceOf(String(answer?.data), expected[index]?.data as string)).toBeUndefined();
        });
      }
    } finally {
      await pool.end();
    }
  });
});

const randomRow = (columns: readonly Column[]) =>
  fc.tuple(...columns.map(({ value }) => fc.option(value, { freq: 8 })));

async function insert(
  database: TestDatabase,
  { name, columns }: { readonly name: string; readonly columns: readonly Column[] },
  from: number,
  rows: readonly (readonly (string | null)[])[],
): Promise<void> {
  const values = columns.map(({ type }, index) => `c${index}::${type}`);
  const parameters = columns.map((_, index) => `$${index + 2}::text[]`);
  await database.query(
    `insert into public.${name} select id, ${values.join(', ')}
      from unnest($1::int[], ${parameters.join(', ')}) u (id, ${columns.map((_, index) => `c${index}`).join(', ')}) order by id`,
    [rows.map((_, index) => from + index), ...columns.map((_, index) => rows.map((row) => row[index] ?? null))],
  );
}

function dataOf(bound: { data(row: never, out: ByteWriter, unchanged: ByteWriter): void }, row: unknown): string {
  const out = new ByteWriter();
  const unchanged = new ByteWriter();
  bound.data(row as never, out, unchanged);
  expect(unchanged.length).toBe(0);
  return out.buffer.toString('utf8', 0, out.length);
}

/** The text around the first character that differs. */
function differenceOf(
  found: string,
  expected: string,
): { readonly found: string; readonly expected: string } | undefined {
  if (found === expected) return undefined;
  let at = 0;
  while (found[at] === expected[at]) at++;
  const around = (text: string) => text.slice(Math.max(0, at - 60), at + 60);
  return { found: around(found), expected: around(expected) };
}
