/** Revocation by a commit that is in the WAL already, and that queries do not see yet. */
import pg from 'pg';
import { expect, test } from 'vitest';
import { ownServer } from '../support/postgres.ts';
import { signToken, startService } from '../support/service.ts';
import { until } from '../support/wait.ts';
import { RawClient } from './raw-client.ts';
import { readMetric } from './stage.ts';

/**
 * A commit of a session with `synchronous_commit = 'on'` waits for a standby that never comes. Set
 * from the start: after a reload, Postgres lets some commits through.
 */
const WAITING = { synchronous_standby_names: 'nobody', synchronous_commit: 'local' };

test('while a revoking commit waits for a standby and queries do not see it, nothing of it or after it is sent', async () => {
  const server = await ownServer({ settings: WAITING });
  const admin = new pg.Client({ connectionString: server.url() });
  const revoker = new pg.Client({ connectionString: server.url() });
  await Promise.all([admin.connect(), revoker.connect()]);
  await admin.query(`
    create table notes (id int primary key);
    create table plain (id int, member text, primary key (id, member));
    insert into plain values (1, 'm'), (1, 'witness');
    create schema channels;
    create schema channel_access;
    create view channels.notes as select id from notes;
    create view channel_access.notes as select;
    create view channels."own:{room}" as select id, 1 as room from notes;
    create view channel_access."own:{room}" as select id as room, member as sub from plain`);
  const service = await startService(server.url());
  try {
    const client = await RawClient.open(service, await signToken({ sub: 'm' }));
    const told = () => client.frames.filter(({ channel }) => channel === 'own:1').map(({ type }) => type);
    await client.subscribe('own:1');
    const witness = await RawClient.open(service);
    await witness.subscribe('notes');
    await revoker.query("set synchronous_commit = 'on'");
    const { rows } = await revoker.query<{ pid: number }>('select pg_backend_pid() as pid');
    const revoking = revoker.query("begin; delete from plain where member = 'm'; insert into notes values (1); commit");
    await witness.wait('the revoking commit', 0, ({ type }) => type === 'changes');
    await admin.query('insert into notes values (2)');
    await witness.wait('a later one', 0, ({ events }) => JSON.stringify(events ?? '').includes('"id":2'));
    expect((await admin.query("select from plain where member = 'm'")).rowCount).toBe(1);
    expect(told()).toEqual(['subscribed']);
    await admin.query('select pg_cancel_backend($1)', [rows[0]?.pid]);
    await revoking;
    await client.wait('the end', 0, ({ type, code }) => type === 'unsubscribed' && code === 'access_revoked');
    expect(told()).toEqual(['subscribed', 'unsubscribed']);
    for (const each of [client, witness]) each.cut();
  } finally {
    await service.remove();
    await Promise.all([admin.end(), revoker.end()]);
    await server.stop('immediate');
  }
});

test('a token is replaced by that of a user whose access ended in a commit that queries do not see yet', async () => {
  const server = await ownServer({ settings: WAITING });
  const admin = new pg.Client({ connectionString: server.url() });
  const revoker = new pg.Client({ connectionString: server.url() });
  await Promise.all([admin.connect(), revoker.connect()]);
  await admin.query(`
    create table plain (id int, member text, primary key (id, member));
    insert into plain values (1, 'm'), (1, 'other');
    create schema channels;
    create schema channel_access;
    create view channels."own:{room}" as select id, 1 as room, member from plain;
    create view channel_access."own:{room}" as select id as room, member as sub from plain`);
  const service = await startService(server.url());
  try {
    const client = await RawClient.open(service, await signToken({ sub: 'other' }));
    expect((await client.subscribe('own:1')).type).toBe('subscribed');
    await revoker.query("set synchronous_commit = 'on'");
    const { rows } = await revoker.query<{ pid: number }>('select pg_backend_pid() as pid');
    const revoking = revoker.query("delete from plain where member = 'm'");
    await client.wait('the revoking commit', 0, ({ type }) => type === 'changes');
    const checks = () => readMetric(service, 'sno_access_query_checks_sum');
    const before = await checks();
    client.send({ type: 'token', token: await signToken({ sub: 'm' }) });
    await until(async () => (await checks()) > before, 'the new token is checked');
    await admin.query('select pg_cancel_backend($1)', [rows[0]?.pid]);
    await revoking;
    await client.wait('the end', 0, ({ type, code }) => type === 'unsubscribed' && code === 'access_revoked');
    client.cut();
  } finally {
    await service.remove();
    await Promise.all([admin.end(), revoker.end()]);
    await server.stop('immediate');
  }
});
