/**
 * Views whose definitions this Snö's grammar cannot read, as a newer Postgres prints them: each is
 * refused by its name.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { sno } from '../cli/run.ts';
import { install } from '../support/install.ts';
import { freshDatabase, type TestDatabase } from '../support/postgres.ts';
import { type ServiceProcess, startService } from '../support/service.ts';
import { until } from '../support/wait.ts';
import { RawClient } from './raw-client.ts';

const NEWER = 'select project, first_value(person) over (partition by project order by person) as sub from';

let database: TestDatabase;
let service: ServiceProcess;

beforeAll(async () => {
  database = await freshDatabase();
  await install(database);
  await database.query(`
    create table tasks (id int primary key, project int not null, title text);
    alter table tasks replica identity full;
    create table members (project int, person text, primary key (project, person));
    create view channels."fine:{project}" as select id, project, title from tasks;
    create view channel_access."fine:{project}" as select project from tasks`);
  // Prints a view that orders by `person` as a newer Postgres would print one with other clauses.
  const { rows } = await database.query<{ text: string }>(
    "select pg_get_functiondef(oid) as text from pg_proc where proname = 'catalog' and pronamespace = 'sno'::regnamespace",
  );
  await database.query(`
    create function public.newer_viewdef(view oid) returns text language sql stable as $$
      select replace(pg_get_viewdef($1), 'first_value(', 'first_value(IGNORE NULLS ')
    $$;
    ${(rows[0]?.text ?? '').replaceAll('pg_get_viewdef(', 'public.newer_viewdef(')};
    insert into tasks values (1, 1, 'x');
    create view channel_access."newer:{project}" as ${NEWER} members`);
  service = await startService(database.url, { SNO_SLOT: database.name, SNO_WORKERS: '1' });
});
afterAll(async () => {
  await service.remove();
  await database.drop();
});

function refused(view: string, from = 0): boolean {
  return service.log.slice(from).some((line) => line['code'] === 'channel_refused' && line['view'] === view);
}

async function expectServed(): Promise<void> {
  const client = await RawClient.open(service);
  await client.wait('welcome', 0, ({ type }) => type === 'welcome');
  expect(await client.subscribe('fine:1')).toMatchObject({ type: 'subscribed' });
  expect(await client.subscribe('newer:1')).toMatchObject({ type: 'error', code: 'channel_unavailable' });
  client.cut();
}

test('is refused at start, by a message in the WAL, with a worker, and in sno check', async () => {
  expect(refused('channel_access."newer:{project}"')).toBe(true);
  await expectServed();
  await database.query(`
    create view firsts as ${NEWER} members;
    create view channel_access."below:{project}" as select project, sub from firsts;
    create view channels."live:{project}" as select project, first_value(id) over () as id from tasks`);
  await until(() => refused('channel_access."below:{project}"'), 'a view over one is refused');
  await until(() => refused('channels."live:{project}"'), 'a channel view is refused');
  await expectServed();
  const check = await sno(['check'], { SNO_DATABASE_URL: database.url });
  expect(check.code).toBe(1);
  expect(check.stdout).toContain('cannot read this (syntax error at or near "NULLS")');
  expect(check.stdout).toContain('4 channels, 3 refused');
});

test('is refused when the catalog is polled', async () => {
  await database.query('drop event trigger sno_ddl; drop event trigger sno_drop');
  const from = service.log.length;
  await service.terminate();
  await service.restart();
  expect(refused('channel_access."newer:{project}"', from)).toBe(true);
  await database.query(`create view channel_access."polled:{project}" as ${NEWER} members`);
  await until(() => refused('channel_access."polled:{project}"'), 'the poll finds it');
  await expectServed();
});
