/**
 * A table is published while a transaction is open that has written to it. Postgres sends of that transaction what it wrote
 * since then, and never what it wrote before.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Follower } from '../oracle/follower.ts';
import { freshDatabase, type TestDatabase, VERSIONS } from '../support/postgres.ts';
import { type ServiceProcess, startService } from '../support/service.ts';
import { until } from '../support/wait.ts';
import { RawClient } from './raw-client.ts';

interface Way {
  readonly name: string;
  /** Of the table `made` there is no view yet, the other ones' are there. */
  readonly table: string;
  /** Before the writer begins. */
  readonly before?: string;
  /** While its transaction is open. */
  readonly publish?: string;
  /** Snö is down before the writer begins, and started while its transaction is open. */
  readonly restarts?: true;
}

const view = (table: string) => `create view channels."${table}:{queue}" as select id, queue, note from work.${table}`;

const MADE: Way = { name: 'Snö, since a view is made', table: 'made', publish: view('made') };
const ADDED: Way = {
  name: 'its owner',
  table: 'added',
  before: 'alter publication sno drop table work.added',
  publish: 'alter publication sno add table work.added',
};
const WAYS: Readonly<Record<string, readonly Way[]>> = {
  'by event triggers': [
    MADE,
    ADDED,
    {
      name: 'its owner, in the same transaction in which it was taken out',
      table: 'swapped',
      publish:
        'begin; alter publication sno drop table work.swapped; alter publication sno add table work.swapped; commit',
    },
    {
      name: 'its owner, with all operations again',
      table: 'partial',
      before: "alter publication sno set (publish = 'insert')",
      publish: "alter publication sno set (publish = 'insert, update, delete, truncate')",
    },
    {
      name: 'its owner, by its schema',
      table: 'schema',
      before: 'alter publication sno drop table work.schema',
      publish: 'alter publication sno add tables in schema work',
    },
    {
      name: 'its owner, with all others',
      table: 'every',
      before: 'drop publication sno',
      publish: 'create publication sno for all tables with (publish_via_partition_root = true)',
    },
  ],
  'by polling': [
    MADE,
    ADDED,
    { name: 'Snö at its start', table: 'late', before: 'alter publication sno drop table work.late', restarts: true },
  ],
};
const TABLES = [...new Set(Object.values(WAYS).flatMap((ways) => ways.map(({ table }) => table)))];
const SCHEMA = `
  create schema work; create schema channels; create schema channel_access;
  create view channel_access."end" as select;
  ${TABLES.map(
    (table) => `
      create table work.${table} (id int primary key, queue int not null, note text not null);
      alter table work.${table} replica identity full;
      insert into work.${table} values (1, 1, 'there');
      ${table === 'made' ? '' : view(table)};`,
  ).join('')}`;

describe.each(VERSIONS.flatMap((version) => Object.keys(WAYS).map((how) => [version, how] as const)))(
  'Postgres %i, noticed %s',
  (version, how) => {
    const isPolled = how === 'by polling';
    let database: TestDatabase;
    let service: ServiceProcess;

    beforeAll(async () => {
      database = await freshDatabase(version);
      const url = new URL(database.url);
      if (isPolled) {
        // who is no superuser can make no event trigger
        const role = `app_${database.name}`;
        await database.query(`create role ${role} login replication password 'app';
          grant create on database ${database.name} to ${role}; set role ${role}`);
        [url.username, url.password] = [role, 'app'];
      }
      await database.query(SCHEMA);
      const settings = { SNO_ACCESS: 'open', SNO_SLOT: database.name, SNO_DATABASE_URL: url.href };
      service = await startService(url.href, isPolled ? settings : { SNO_ACCESS: 'open', SNO_SLOT: database.name });
    });

    afterAll(async () => {
      await service.remove();
      if (isPolled) {
        const role = `app_${database.name}`;
        await database.query(`reset role; drop owned by ${role} cascade; drop role ${role}`);
      }
      await database.drop();
    });

    // the ways that are left are the same to Postgres 15
    const ways = (WAYS[how] as readonly Way[]).filter((_, index) => version === 18 || index < 2);
    test.each(ways)('$name', async ({ table, before, publish, restarts }) => {
      const channel = `${table}:1`;
      const follower = new Follower(service, [channel], isPolled);
      const [writer, other] = [await database.connect(), await database.connect()];
      try {
        if (isPolled) for (const client of [writer, other]) await client.query(`set role app_${database.name}`);
        if (restarts) await service.kill();
        if (before !== undefined) await other.query(before);
        await writer.query(
          `begin; update work.${table} set note = 'before'; insert into work.${table} values (2, 1, 'before')`,
        );
        if (restarts) await service.restart();
        if (publish !== undefined) await other.query(publish);

        // whoever asks in between is told to come back, since the table's changes do not all come
        const client = await RawClient.open(service);
        const isToldToComeBack = async () => {
          const { type, code } = await client.subscribe(channel, { snapshot: true });
          if (type === 'subscribed') client.send({ type: 'unsubscribe', channel });
          // a poll comes late
          if (type === 'subscribed' && !isPolled) throw new Error('it is served');
          return code === 'try_again';
        };
        await until(isToldToComeBack, `${channel} is about to be served`);
        await writer.query(`insert into work.${table} values (3, 1, 'after'); commit`);
        client.cut();

        const notes = ['before', 'before', 'after'];
        const expected = notes.map((note, index) => JSON.stringify({ id: index + 1, queue: 1, note })).join();
        const held = () => [...(follower.held.get(channel)?.rows.values() ?? [])].sort().join();
        await until(() => follower.isLive && held() === expected, 'the follower holds what the view holds');
        expect(follower.violations()).toEqual([]);
      } finally {
        follower.close();
        await Promise.all([writer.end(), other.end()]);
      }
    });
  },
);
