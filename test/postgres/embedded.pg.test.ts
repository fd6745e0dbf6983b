import { describe, expect, test } from 'vitest';
import { freshDatabase, VERSIONS } from '../support/postgres.ts';

describe.each(VERSIONS)('Postgres %i', (version) => {
  test('works', async () => {
    const db = await freshDatabase(version);
    const r = await db.query<{ v: string }>(
      "select current_setting('server_version') v, pg_create_logical_replication_slot($1, 'pgoutput')",
      [db.name],
    );
    expect(r.rows[0]?.v).toMatch(new RegExp(`^${version}\\.`));
    await db.drop();
  });
});
