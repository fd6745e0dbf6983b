/**
 * The role of the service in tests: it may only replicate, and read published tables, as `sno
 * setup` grants it.
 */
import type pg from 'pg';
import { createClient } from '../../src/postgres/connect.ts';
import { ensureSetup } from '../../src/setup/apply.ts';

const SERVICE_ROLE = 'sno_service';
const PASSWORD = 'of the tests';

/**
 * Sets the database up as the superuser of `databaseUrl`, and returns the URL of the service's
 * role. Returns the URL of any other role unchanged. A standby is set up by its primary.
 */
export async function setUpFor(databaseUrl: string, publication: string): Promise<string> {
  const client = createClient(databaseUrl, 'setup');
  await client.connect();
  try {
    const { rows } = await client.query<{ rolsuper: string; standby: string }>(
      'select rolsuper, pg_is_in_recovery() as standby from pg_roles where rolname = current_user',
    );
    if (rows[0]?.rolsuper !== 't') return databaseUrl;
    if (rows[0].standby !== 't') await setUp(client, publication);
  } finally {
    await client.end();
  }
  const url = new URL(databaseUrl);
  url.username = SERVICE_ROLE;
  url.password = PASSWORD;
  return url.href;
}

async function setUp(client: pg.Client, publication: string): Promise<void> {
  // other tests do the same on this server
  await client.query(`
    do $$ begin
      create role ${SERVICE_ROLE} login replication password '${PASSWORD}';
    exception when duplicate_object or unique_violation then null;
    end $$`);
  const service = { role: SERVICE_ROLE, isSuggestion: false };
  await ensureSetup(client, { publication, identities: false, service });
}
