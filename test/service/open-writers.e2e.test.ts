/**
 * A table is published while a transaction is open that has written to it. Postgres sends what that
 * transaction wrote after that, and never what it wrote before.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Follower } from '../oracle/follower.ts';
import { freshDatabase, type TestDatabase, VERSIONS } from '../support/postgres.ts';
import { type ServiceProcess, startService } from '../support/service.ts';
import { until } from '../support/wait.ts';
import { RawClient } from './raw-client.ts';

interface Way {
  readonly name: string;
  /** The table `made` has no view yet, the other tables have one. */
  readonly table: string;
  /** Before the writer begins. */
  readonly before?: string;
  /** While its transaction is open. */
  readonly publish?: string;
  /** Snö is down before the writer begins, and started while its transaction is open. */
  readonly restarts?: true;
}

const view = (table: string) => `create view channels."${table}:{queue}" as select id, queue, note from work.${table}`;
const everybody = (table: string) => `create view channel_access."${table}:{queue}" as select 1 as queue`;

const MADE: Way = {
  name: 'published by Snö when a view is created',
  table: 'made',
  publish: `${view('made')}; ${everybody('made')}`,
};
const ADDED: Way = {
  name: 'published by its owner',
  table: 'added',
  before: 'alter publication sno drop table work.added',
  publish: 'alter publication sno add table work.added',
};
const WAYS: Readonly<Record<string, readonly Way[]>> = {
  'by event triggers': [
    MADE,
    ADDED,
    {
      name: 'published by its owner in the transaction that had removed it',
      table: 'swapped',
      publish:
        'begin; alter publication sno drop table work.swapped; alter publication sno add table work.swapped; commit',
    },
    {
      name: 'published by its owner with all operations again',
      table: 'partial',
      before: "alter publication sno set (publish = 'insert')",
      publish: "alter publication sno set (publish = 'insert, update, delete, truncate')",
    },
    {
      name: 'published by its owner through its schema',
      table: 'schema',
      before: 'alter publication sno drop table work.schema',
      publish: 'alter publication sno add tables in schema work',
    },
    {
      name: 'published by its owner with all other tables',
      table: 'every',
      before: 'drop publication sno',
      publish: 'create publication sno for all tables with (publish_via_partition_root = true)',
    },
  ],
  'by polling': [
    MADE,
    ADDED,
    {
      name: 'published by Snö at its start',
      table: 'late',
      before: 'alter publication sno drop table work.late',
      restarts: true,
    },
  ],
};
/** Its access view, which alone reads `members`, is not there yet. */
const GUARDED = `
  create table work.guarded (id int primary key, queue int not null, note text not null);
  alter table work.guarded replica identity full;
  create table work.members (queue int primary key);
  insert into work.members values (1);
  ${view('guarded')};`;
const TABLES = [...new Set(Object.values(WAYS).flatMap((ways) => ways.map(({ table }) => table)))];
const SCHEMA = `
  create schema work; create schema channels; create schema channel_access;
  create view channel_access."end" as select;
  ${TABLES.map(
    (table) => `
      create table work.${table} (id int primary key, queue int not null, note text not null);
      alter table work.${table} replica identity full;
      insert into work.${table} values (1, 1, 'there');
      ${table === 'made' ? '' : `${view(table)}; ${everybody(table)};`}`,
  ).join('')}
  ${GUARDED}`;

describe.each(VERSIONS.flatMap((version) => Object.keys(WAYS).map((how) => [version, how] as const)))(
  'Postgres %i: a table waits for its earlier writers, noticed %s,',
  (version, how) => {
    const isPolled = how === 'by polling';
    let database: TestDatabase;
    let service: ServiceProcess;

    beforeAll(async () => {
      database = await freshDatabase(version);
      const url = new URL(database.url);
      if (isPolled) {
        // only a superuser can create event triggers
        const role = `app_${database.name}`;
        await database.query(`create role ${role} login replication password 'app';
          grant create on database ${database.name} to ${role}; set role ${role}`);
        [url.username, url.password] = [role, 'app'];
      }
      await database.query(SCHEMA);
      const slot = { SNO_SLOT: database.name };
      service = await startService(url.href, isPolled ? { ...slot, SNO_DATABASE_URL: url.href } : slot);
    });

    afterAll(async () => {
      await service.remove();
      if (isPolled) {
        const role = `app_${database.name}`;
        await database.query(`reset role; drop owned by ${role} cascade; drop role ${role}`);
      }
      await database.drop();
    });

    async function connect() {
      const client = await database.connect();
      if (isPolled) await client.query(`set role app_${database.name}`);
      return client;
    }

    const accessTables = ['members'].filter(() => version >= 18);
    test.each(accessTables)('published by Snö for a new access view that reads it: %s', async (table) => {
      const [writer, other] = [await connect(), await connect()];
      const client = await RawClient.open(service);
      const ask = async (channel: string) => {
        const { type, code = type } = await client.subscribe(channel);
        return code;
      };
      try {
        // Postgres never sends which clients lose or get access by this
        await writer.query(`begin; update work.${table} set queue = 2`);
        await other.query(`create view channel_access."guarded:{queue}" as select queue from work.${table}`);
        const answers = new Set<string>();
        await until(async () => answers.add(await ask('guarded:1')).has('try_again'), 'it is about to be served');
        expect([...answers].filter((answer) => !['access_undeclared', 'try_again'].includes(answer))).toEqual([]);
        await writer.query('commit');
        await until(async () => (await ask('guarded:2')) === 'subscribed', 'it is served');
        expect(await ask('guarded:1')).toBe('access_denied');
        // from here on Postgres sends it
        await other.query(`delete from work.${table}`);
        await client.wait('the end', 0, ({ code, channel }) => code === 'access_revoked' && channel === 'guarded:2');
      } finally {
        client.cut();
        await Promise.all([writer.end(), other.end()]);
      }
    });

    // Postgres 15 treats the other ways alike. test/channels/publishing.pg.test.ts shows what it
    // waits for.
    const ways = (WAYS[how] as readonly Way[]).filter((_, index) => version >= 18 || index === 0);
    test.each(ways)('$name', async ({ table, before, publish, restarts }) => {
      const channel = `${table}:1`;
      const follower = new Follower(service, [channel], isPolled);
      const [writer, other] = [await connect(), await connect()];
      try {
        if (restarts) await service.kill();
        if (before !== undefined) await other.query(before);
        await writer.query(
          `begin; update work.${table} set note = 'before'; insert into work.${table} values (2, 1, 'before')`,
        );
        if (restarts) await service.restart();
        if (publish !== undefined) await other.query(publish);

        // a client that asks meanwhile receives try_again: Postgres does not send all changes of
        // the table
        const client = await RawClient.open(service);
        const isToldToComeBack = async () => {
          const { type, code } = await client.subscribe(channel, { snapshot: true });
          if (type === 'subscribed') client.send({ type: 'unsubscribe', channel });
          // a poll finds it later
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
