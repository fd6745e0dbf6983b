/**
 * Values of every type in channel names and in keys: placeholders and keys are as Postgres prints
 * them.
 */
import fc from 'fast-check';
import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { canonicalSql } from '../../src/access/channel-value.ts';
import type { Catalog } from '../../src/channels/catalog/catalog.ts';
import { channelName } from '../../src/channels/catalog/pattern.ts';
import { loadParser } from '../../src/channels/sql/parse.ts';
import { SnoError } from '../../src/errors.ts';
import { createClient } from '../../src/postgres/connect.ts';
import { install } from '../support/install.ts';
import { freshDatabase, type TestDatabase, VERSIONS } from '../support/postgres.ts';
import { boundOf, catalogOf, compileIn, Reading, snapshotRows, viewOf } from './compiled.ts';
import { createEveryType, everyColumn } from './every-type.ts';
import { type Cell, tupleOf } from './rows.ts';

const ROWS = 8;
const SEED = 20_260;
/** Types that print as the names of other objects. */
const NAMING = /^(reg\w+|aclitem)(\[\])?$/;
/** Types that no placeholder can have, with the reason. */
const REFUSED = { [NAMING.source]: 'can be renamed', '^xml$': 'stored with its declaration' };
/** Types whose cast to text gives another text than their output function. */
const BY_POSTGRES = ['inet'];

const reasonFor = (type: string) => Object.entries(REFUSED).find(([types]) => new RegExp(types).test(type))?.[1];

describe.each(VERSIONS)('values in names, Postgres %i', (version) => {
  const columns = everyColumn(version);
  let database: TestDatabase;
  let client: pg.Client;
  let catalog: Catalog;
  /** The table's rows, each column as its output function prints it. */
  let sent: readonly Cell[][];
  let texts: readonly Cell[][];

  beforeAll(async () => {
    await loadParser();
    database = await freshDatabase(version);
    await install(database, { eventTriggers: false });
    await database.query('set search_path = pg_catalog, public');
    await createEveryType(database);
    const samples = columns.map(({ value }, index) => fc.sample(value, { numRuns: ROWS, seed: SEED + index }));
    const keyed = columns.filter(({ type }) => !type.endsWith('[]'));
    await database.query(`begin;
      create table public.each (id int primary key);
      ${columns.map(({ name, type }) => `alter table public.each add column ${name} ${type};`).join('\n')}
      alter table public.each replica identity full;
      ${columns.map(({ name }) => `create view channels."${name}:{${name}}" as select id, ${name} from public.each;`).join('\n')}
      commit`);
    await database.query('insert into public.each (id) select generate_series(0, $1)', [ROWS - 1]);
    for (const [index, { name, type }] of columns.entries())
      await database.query(
        `update public.each set ${name} = t::${type} from unnest($1::text[]) with ordinality u (t, n) where id = n - 1`,
        [samples[index]],
      );
    for (const { name, type } of keyed)
      await createKeyed(name, type, samples[columns.findIndex((column) => column.name === name)] as string[]);
    catalog = await catalogOf(database);
    client = createClient(database.url, 'oracle');
    await client.connect();
    const read = async (list: string) =>
      (await client.query({ text: `select id, ${list} from public.each order by id`, rowMode: 'array' }))
        .rows as Cell[][];
    sent = await read(columns.map(({ name }) => name).join(', '));
    texts = await read(columns.map(({ name }) => `${name}::text`).join(', '));
  });
  afterAll(async () => {
    await client.end();
    await database.drop();
  });

  /** Creates a table with a key of the type, if the type can have one. */
  async function createKeyed(name: string, type: string, values: readonly string[]): Promise<void> {
    await database.query('begin');
    try {
      await database.query(`create table public.key_${name} (key ${type} primary key);
        create view channels."key_${name}" as select key as shown, 1 as one from public.key_${name}`);
      await database.query(
        `insert into public.key_${name} select t::${type} from unnest($1::text[]) t on conflict do nothing`,
        [values],
      );
      await database.query('commit');
    } catch (error) {
      await database.query('rollback');
      // no operator class; for a composite, no comparison of a field
      expect([type, (error as { code?: string }).code]).toEqual([type, expect.stringMatching(/42704|42883/)]);
    }
  }

  const patternOf = (name: string) => `${name}:{${name}}`;

  test('placeholders equal the texts of their columns, in process but for a few types', () => {
    const byPostgres: string[] = [];
    for (const [index, { name, type }] of columns.entries()) {
      const view = compileIn(catalog, patternOf(name));
      if (view instanceof SnoError) {
        expect([type, view.message]).toEqual([type, expect.stringContaining(reasonFor(type) ?? 'is served')]);
        continue;
      }
      expect(reasonFor(type)).toBeUndefined();
      if (view.remote !== undefined) {
        byPostgres.push(type);
        continue;
      }
      const reading = new Reading(boundOf(catalog, patternOf(name)));
      for (const [row, cells] of sent.entries())
        expect([type, reading.channel(tupleOf(cells))]).toEqual([
          type,
          channelName(view.pattern, [texts[row]?.[index + 1] as string]),
        ]);
    }
    expect(byPostgres).toEqual(BY_POSTGRES);
  });

  test('a snapshot by a value has the rows with that text, and the value is canonical', async () => {
    for (const [index, { name, type }] of columns.entries()) {
      if (reasonFor(type) !== undefined) continue;
      const view = viewOf(catalog, patternOf(name));
      const declared = catalog.channels
        .find(({ pattern }) => pattern === patternOf(name))
        ?.columns.find((column) => column.name === name)?.type;
      for (const value of new Set(texts.map((row) => row[index + 1] as string))) {
        const rows = await snapshotRows(client, view, [value]);
        const wanted = texts.filter((row) => row[index + 1] === value).map(([id]) => `{"id":${String(id)}}`);
        expect([type, value, rows.map(({ sno_key }) => sno_key).sort()]).toEqual([type, value, wanted]);
        const canonical = await client.query({
          text: canonicalSql([declared ?? '']),
          values: [[value]],
          rowMode: 'array',
        });
        expect([type, value, canonical.rows]).toEqual([type, value, [['1']]]);
      }
    }
  });

  test('keys equal to_json', async () => {
    const tables = catalog.channels.filter(({ pattern }) => pattern.startsWith('key_'));
    expect(tables.length).toBeGreaterThan(50);
    for (const { pattern } of tables) {
      const { type } = columns.find(({ name }) => pattern === `key_${name}`) as { readonly type: string };
      const view = compileIn(catalog, pattern);
      if (NAMING.test(type)) {
        expect([type, (view as SnoError).message]).toEqual([type, expect.stringContaining('the key column key')]);
        continue;
      }
      const reading = new Reading(boundOf(catalog, pattern));
      const { rows: found } = await client.query({ text: `select key from public.${pattern}`, rowMode: 'array' });
      const snapshot = await snapshotRows(client, viewOf(catalog, pattern));
      expect(found.length).toBeGreaterThan(0);
      expect([type, found.map((cells) => reading.key(tupleOf(cells as Cell[]))).sort()]).toEqual([
        type,
        snapshot.map(({ sno_key }) => sno_key).sort(),
      ]);
    }
  });
});
