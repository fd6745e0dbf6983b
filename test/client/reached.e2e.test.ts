/**
 * Read your writes, against the real service: once a commit is reached, the rows contain its
 * changes.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { connect, type LiveView, type SnoClient } from '../../src/client/index.ts';
import { lsnOf } from '../oracle/frame.ts';
import { bytesOf } from '../oracle/wal.ts';
import { type Stage, stage } from '../service/stage.ts';
import { VERSIONS } from '../support/postgres.ts';

const SCHEMA = `
  create table notes (id int primary key, room int not null, body text not null);
  alter table notes replica identity full;
  create table elsewhere (id bigint generated always as identity primary key);
  create schema channels;
  create view channels."room:{room}" as select id, room, body from notes;
`;

interface Note {
  readonly id: number;
  readonly room: number;
  readonly body: string;
}

const LSN = 'select pg_current_wal_insert_lsn()::text as commit';
const WRITES = 40;

describe.each(VERSIONS)('Postgres %i', (version) => {
  let here: Stage;
  let client: SnoClient;
  let view: LiveView<Note>;
  let ids = 0;

  beforeAll(async () => {
    here = await stage(SCHEMA, {}, version);
    const { url, certificate } = here.service;
    class Trusting extends WebSocket {
      constructor(address: string) {
        super(address, { ca: certificate.cert });
      }
    }
    client = connect(url, { WebSocket: Trusting, backoff: { baseMs: 20, capMs: 200 } });
    view = client.live<Note>('room:1');
    await view.ready;
  });

  afterAll(async () => {
    await client.close();
    await here.end();
  });

  /** Commits a note into the room. Returns the commit's LSN or its transaction id. */
  async function write(room: number, by: 'lsn' | 'xid'): Promise<{ readonly id: number; readonly commit: string }> {
    const id = ++ids;
    const insert = `insert into notes values (${id}, ${room}, 'note') returning pg_current_xact_id()::text as commit`;
    let { rows } = await here.query<{ commit: string }>(insert);
    if (by === 'lsn') ({ rows } = await here.query<{ commit: string }>(LSN));
    return { id, commit: rows[0]?.commit as string };
  }

  const one = async (sql: string): Promise<string> =>
    (await here.query<{ commit: string }>(sql)).rows[0]?.commit as string;

  test.each(['lsn', 'xid'] as const)('by %s: the rows contain the write', async (by) => {
    for (let count = 0; count < WRITES; count++) {
      const { id, commit } = await write(1, by);
      await view.reached(commit);
      expect(view.get(id)?.body).toBe('note');
    }
  });

  test.each(['lsn', 'xid'] as const)('by %s, with synchronous_commit off', async (by) => {
    await here.query('set synchronous_commit = off');
    for (let count = 0; count < WRITES; count++) {
      const { id, commit } = await write(1, by);
      await view.reached(commit);
      expect(view.get(id)?.body).toBe('note');
    }
    await here.query('reset synchronous_commit');
  });

  test.each([
    ['a commit to another channel', async () => (await write(2, 'lsn')).commit],
    ['another channel, by xid', async () => (await write(2, 'xid')).commit],
    [
      'a table that no channel reads',
      () => one('insert into elsewhere default values returning pg_current_xact_id()::text as commit'),
    ],
    ['nothing at all', () => one(LSN)],
    [
      'a rollback',
      async () => {
        await here.query('begin');
        const commit = await one('insert into elsewhere default values returning pg_current_xact_id()::text as commit');
        await here.query('rollback');
        return commit;
      },
    ],
  ])('reaches a commit in a quiet channel: %s', async (_what, commit) => {
    const before = await one(LSN);
    await view.reached(await commit());
    expect(lsnOf(view.position as string)).toBeGreaterThanOrEqual(bytesOf(before));
  });

  test('waits for a transaction that is still open', async () => {
    const other = await here.database.connect();
    const id = ++ids;
    await other.query('begin');
    const { rows } = await other.query<{ commit: string }>(
      `insert into notes values (${id}, 1, 'late') returning pg_current_xact_id()::text as commit`,
    );
    let isReached = false;
    const reached = view.reached(rows[0]?.commit as string).then(() => (isReached = true));
    // a later write that does not wait for it
    const { commit } = await write(1, 'lsn');
    await view.reached(commit);
    expect(isReached).toBe(false);
    await other.query('commit');
    await reached;
    expect(view.get(id)?.body).toBe('late');
  });

  test('a view that is still opening has the commit in its snapshot', async () => {
    const { id, commit } = await write(3, 'xid');
    const opened = client.live<Note>('room:3');
    await opened.reached(commit);
    expect(opened.get(id)?.body).toBe('note');
    opened.close();
  });

  test('many waits at once survive kill -9 of Snö', async () => {
    const written: Awaited<ReturnType<typeof write>>[] = [];
    for (let nth = 0; nth < WRITES; nth++) written.push(await write(1, nth % 2 === 0 ? 'lsn' : 'xid'));
    await here.service.kill();
    written.push(await write(1, 'lsn'), await write(1, 'xid'));
    const reached = written.map(async ({ id, commit }) => {
      await view.reached(commit);
      return view.get(id)?.body;
    });
    await here.service.restart();
    expect(await Promise.all(reached)).toEqual(written.map(() => 'note'));
  });
});
