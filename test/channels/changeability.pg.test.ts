/** Compares the list of settled functions with the functions that Postgres has. */
import { afterAll, expect, test } from 'vitest';
import { SETTLED_FUNCTIONS } from '../../src/channels/compiler/settled.ts';
import { freshDatabase, NEWEST, type TestDatabase, VERSIONS } from '../support/postgres.ts';

const databases: TestDatabase[] = [];
afterAll(() => Promise.all(databases.map((database) => database.drop())));

async function volatilities(version: (typeof VERSIONS)[number]): Promise<ReadonlyMap<string, string>> {
  const database = await freshDatabase(version);
  databases.push(database);
  const { rows } = await database.query<{ signature: string; volatility: string }>(`
    select format('%s(%s)', proname, array_to_string(array(
        select typname from unnest(proargtypes) with ordinality a (type, position) join pg_type t on t.oid = type order by position
      ), ',')) as signature, provolatile as volatility
    from pg_proc where pronamespace = 'pg_catalog'::regnamespace`);
  return new Map(rows.map(({ signature, volatility }) => [signature, volatility]));
}

test('each function exists, and is volatile in no version', async () => {
  const versions = await Promise.all(VERSIONS.map(volatilities));
  for (const signature of SETTLED_FUNCTIONS) {
    const found = versions.flatMap((functions) => functions.get(signature) ?? []);
    // Some came with 17.
    if (NEWEST >= 17) expect(found, signature).not.toEqual([]);
    expect(found, signature).not.toContain('v');
  }
});
