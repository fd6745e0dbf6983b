/** No change of the publication makes a channel lose a commit silently. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { VERSIONS } from '../support/postgres.ts';
import { until } from '../support/wait.ts';
import { type Stage, stage } from './stage.ts';

const SCHEMA = `
  create table jobs (id int primary key, queue int not null, note text not null);
  alter table jobs replica identity full;
  insert into jobs values (1, 1, 'start');
  create schema channels;
  create view channels."queue:{queue}" as select id, queue, note from jobs;
`;

describe.each(VERSIONS)('Postgres %i', (version) => {
  let here: Stage;
  beforeAll(async () => {
    here = await stage(SCHEMA, {}, version);
  });
  afterAll(() => here.end());

  test.each([
    [
      'with operations left out',
      "alter publication sno set (publish = 'insert')",
      "alter publication sno set (publish = 'insert, update, delete, truncate')",
    ],
    ['by another name', 'alter publication sno rename to another', 'alter publication another rename to sno'],
    ['without the table', 'alter publication sno drop table jobs', 'alter publication sno add table jobs'],
    ['dropped', 'drop publication sno', 'create publication sno with (publish_via_partition_root = true)'],
  ])(
    '%s for a while: its subscribers are reset or unsubscribed, and later hold the rows of the view',
    async (what, change, hint) => {
      const client = await here.client();
      await client.subscribe('queue:1', { snapshot: true });
      await here.query(change);
      await here.query('update jobs set note = $1', [what]);
      await here.query(hint);
      // a channel whose changes Postgres does not send cannot be served
      const end = await client.wait('the end', 0, ({ type }) => type === 'reset' || type === 'unsubscribed');
      expect(['channel_changed', 'slot_lost', 'channel_dropped']).toContain(end.reason ?? end.code);
      // no client can join it until Snö has read the correction
      await until(
        async () => (await client.subscribe('queue:1', { snapshot: true })).type === 'subscribed',
        'it is there',
      );
      const rows = new Map<unknown, unknown>();
      for (const { key, data } of client.of('queue:1', 'snapshot').at(-1)?.rows ?? [])
        rows.set(key['id'], data['note']);
      await here.query('update jobs set note = note || $1', ['!']);
      await until(() => {
        for (const { key, data } of client.events('queue:1')) rows.set(key?.['id'], data?.['note']);
        return rows.get(1) === `${what}!`;
      }, 'it goes on');
      client.cut();
    },
  );
});
