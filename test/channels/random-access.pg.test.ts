/**
 * Random access views, random commits, and Postgres as the oracle: where a row of an access view
 * disappears, the router must have marked its channel, or its pattern, for a check, for its user or
 * all. Half of the views are presence views: there also where a row appears. Where a commit changes
 * only what few views read, most are not marked.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ChannelRegistry } from '../../src/channels/definitions/registry.ts';
import { loadParser } from '../../src/channels/sql/parse.ts';
import { record } from '../decode/recording.ts';
import { Random } from '../oracle/random.ts';
import { install } from '../support/install.ts';
import { freshDatabase, type TestDatabase, VERSIONS } from '../support/postgres.ts';
import { catalogOf } from './compiled.ts';
import { marking } from './marking.ts';
import { RandomViews, TABLES, TABLES_SQL } from './random-views.ts';

const SEED = Number(process.env['SNO_TEST_SEED'] ?? 20_260);
const VIEWS = Number(process.env['SNO_TEST_VIEWS'] ?? 100);
const COMMITS = Number(process.env['SNO_TEST_COMMITS'] ?? 50);

const UNIQUE_VIOLATION = '23505';

describe.each(VERSIONS)('random access views, Postgres %i', (version) => {
  let database: TestDatabase;
  beforeAll(async () => {
    await loadParser();
    database = await freshDatabase(version);
    await install(database);
  });
  afterAll(() => database.drop());

  test('a commit that removes a row from a view, or adds one to a presence view, marks its channel, for its user', async () => {
    const random = new Random(SEED + version);
    await database.query(TABLES_SQL);
    const definitions = await makeViews(database, new RandomViews(random));
    const registry = new ChannelRegistry('sno');
    expect(registry.load(await catalogOf(database)).refused).toEqual([]);
    const { decoder, take } = marking(registry);
    const recording = await record(database, 'sno');

    await database.query(
      `set jit = off; set max_parallel_workers_per_gather = 0; prepare contents as ${contentsSql(definitions.size)}`,
    );
    const contents = async () => {
      const { rows } = await database.query<{ rows: string[] }>('execute contents');
      return rows.map((view) => new Set(view.rows));
    };
    let before = await contents();
    let [gone, come, unmarked, busy, markedOfBusy, ofChannel, ofUser] = [0, 0, 0, 0, 0, 0, 0];
    for (let commit = 0; commit < COMMITS; commit++) {
      const isBusy = random.below(3) === 0;
      const change = isBusy ? busyChange : randomChange;
      const statements = Array.from({ length: 1 + random.below(2) }, () => change(random));
      await database.query(statements.join('; ')).catch((error: { readonly code?: string }) => {
        // a moved row may violate a unique key: then nothing was changed
        if (error.code !== UNIQUE_VIOLATION) throw error;
      });
      for (const message of await recording.take()) decoder.message(message, 0, message.length);
      const marked = take();
      ofChannel += [...marked].filter((name) => !name.includes('{')).length;
      ofUser += [...marked].filter((name) => name.includes(' ')).length;
      const after = await contents();
      for (const [index, rows] of before.entries()) {
        const pattern = patternOf(index);
        const now = after[index] ?? new Set();
        const lost = [...rows].filter((row) => !now.has(row));
        const found = isPresence(index) ? [...now].filter((row) => !rows.has(row)) : [];
        gone += lost.length;
        come += found.length;
        if (![...marked].some((name) => name.startsWith(`v${index}:`))) unmarked++;
        if (isBusy) busy++;
        if (isBusy && [...marked].some((name) => name.startsWith(`v${index}:`))) markedOfBusy++;
        for (const row of [...lost, ...found]) {
          const [x, sub] = JSON.parse(row) as [number, number];
          const places = [pattern, `v${index}:${x}`];
          if (![...places, ...places.map((place) => `${place} sub=${sub}`)].some((name) => marked.has(name)))
            expect.fail(
              `seed ${SEED}: ${statements.join('; ')}\ntook ${x} from ${sub}, or gave it, unmarked, of\n${definitions.get(pattern)}`,
            );
        }
      }
      before = after;
    }
    // otherwise the test or the analysis proves nothing
    expect(gone).toBeGreaterThan(COMMITS);
    expect(come).toBeGreaterThan(COMMITS);
    expect(unmarked).toBeGreaterThan(COMMITS);
    expect(ofChannel).toBeGreaterThan(COMMITS / 50);
    expect(ofUser).toBeGreaterThan(COMMITS / 50);
    expect(markedOfBusy).toBeLessThan((busy * 2) / 3);
  });
});

const patternOf = (index: number) => `v${index}:{x}`;
const isPresence = (index: number) => index % 2 === 1;
const schemaOf = (index: number) => (isPresence(index) ? 'channel_presence' : 'channel_access');

async function makeViews(database: TestDatabase, views: RandomViews): Promise<ReadonlyMap<string, string>> {
  const definitions = new Map<string, string>();
  for (let index = 0; index < VIEWS; index++)
    definitions.set(patternOf(index), views.accessView(patternOf(index), schemaOf(index)));
  await database.query(`begin; ${[...definitions.values()].join('\n')} commit`);
  return definitions;
}

/** The rows of every view. A row with a NULL gives access to no channel, or to no user. */
function contentsSql(count: number): string {
  const selects = Array.from({ length: count }, (_, index) => {
    const rows = `select distinct x, sub from ${schemaOf(index)}."${patternOf(index)}" where x is not null and sub is not null`;
    return `select ${index} as view, coalesce(array_agg(jsonb_build_array(x, sub)::text), '{}') as rows from (${rows}) r`;
  });
  return `${selects.join(' union all ')} order by view`;
}

/** One random statement. Most add a row, since that is where a view may lose rows unnoticed. */
function randomChange(random: Random): string {
  const table = TABLES[random.below(TABLES.length)];
  const value = () => (random.below(6) === 0 ? 'null' : String(random.below(4)));
  const [id, x] = [random.below(12), random.below(4)];
  const kind = random.below(20);
  if (kind === 0) return `truncate ${table}`;
  if (kind === 1) return `update ${table} set id = ${random.below(12)} where id = ${id}`;
  if (kind < 5) return `delete from ${table} where id = ${id}`;
  if (kind < 7) return `update ${table} set y = ${value()} where id = ${id}`;
  if (kind < 9) return `update ${table} set x = ${x} where id = ${id}`;
  return `insert into ${table} values (${id}, ${x}, ${value()}) on conflict do nothing`;
}

/** Moves rows, and changes a column that few views read. */
function busyChange(random: Random): string {
  const table = TABLES[random.below(TABLES.length)];
  const value = random.below(3) === 0 ? 'x = x, y = y' : `busy = ${random.below(5)}`;
  return `update ${table} set ${value} where id % ${1 + random.below(3)} = 0`;
}
