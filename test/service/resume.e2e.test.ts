/**
 * Resuming with `since`: exactly after the position, or a reset with the reason. Also after kill
 * -9, and the WAL that the slot keeps for it.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { VERSIONS } from '../support/postgres.ts';
import { until } from '../support/wait.ts';
import type { Frame } from './raw-client.ts';
import { changesOf, type Stage, stage } from './stage.ts';

const SCHEMA = `
  create table notes (id int primary key, room text not null, body text not null);
  alter table notes replica identity full;
  create table unrelated (id bigint generated always as identity primary key, body text);
  create schema channels;
  create view channels."room:{room}" as select id, room, body from notes;
`;

interface Resumed {
  readonly answer: Frame;
  /** Ids of the rows that were inserted, a list per changes frame. */
  readonly inserted: readonly unknown[][];
}

/** Resumes on a new connection, and waits until everything committed so far has arrived. */
async function resume(here: Stage, channel: string, since: string): Promise<Resumed> {
  const client = await here.client('end');
  let answer: Frame | undefined;
  const frames = await changesOf(here, client, async () => {
    answer = await client.subscribe(channel, { since });
  });
  client.cut();
  return {
    answer: answer as Frame,
    inserted: frames
      .filter(({ type }) => type === 'changes')
      .map(({ events }) => (events ?? []).map(({ key }) => key?.['id'])),
  };
}

const recovered = (since: string) => ({ type: 'subscribed', position: since, recovered: true });
const reset = (reason: string) => ({ type: 'reset', reason });

/** LSN of a position, in bytes. */
function lsnOf(position: string): number {
  const [high, low] = (position.split(':')[1] as string).split('/') as [string, string];
  return Number.parseInt(high, 16) * 2 ** 32 + Number.parseInt(low, 16);
}

describe.each(VERSIONS)('Postgres %i', (version) => {
  let here: Stage;
  let ids = 0;

  beforeAll(async () => {
    here = await stage(SCHEMA, {}, version);
  });
  afterAll(() => here.end());

  /** Commits one row; returns its id. */
  async function insert(room: string): Promise<number> {
    await here.query('insert into notes values ($1, $2, $3)', [++ids, room, 'text']);
    return ids;
  }

  describe('since a position of this history', () => {
    test('of a changes frame: everything after that commit arrives', async () => {
      const client = await here.client('end', 'room:a');
      await changesOf(here, client, () => insert('a').then(() => insert('a')));
      const [first, second] = client.of('room:a') as [Frame, Frame];
      const third = await insert('a');
      const since = first.position as string;
      const { answer, inserted } = await resume(here, 'room:a', since);
      expect(answer).toMatchObject(recovered(since));
      expect(inserted).toEqual([[second.events?.[0]?.key?.['id']], [third]]);
      expect((await resume(here, 'room:a', second.position as string)).inserted).toEqual([[third]]);
    });

    test('of a `subscribed` frame and of a heartbeat: the client resumes', async () => {
      const client = await here.client('end');
      const { position: start } = await client.subscribe('room:b');
      const one = await insert('b');
      await changesOf(here, client, async () => undefined);
      const heartbeat = await client.heartbeat();
      const two = await insert('b');
      expect((await resume(here, 'room:b', start as string)).inserted).toEqual([[one], [two]]);
      const after = await resume(here, 'room:b', heartbeat);
      expect(after.answer).toMatchObject(recovered(heartbeat));
      expect(after.inserted).toEqual([[two]]);
    });

    test('of a channel without events: nothing arrives, and the channel is live', async () => {
      const client = await here.client('end', 'room:c');
      const heartbeat = await client.heartbeat();
      expect(await resume(here, 'room:c', heartbeat)).toMatchObject({ answer: recovered(heartbeat), inserted: [] });
    });

    test('of a `subscribed` frame with recovered, used twice', async () => {
      const client = await here.client('end');
      const { position } = await client.subscribe('room:d');
      const one = await insert('d');
      for (const _ of [1, 2]) {
        const { answer, inserted } = await resume(here, 'room:d', position as string);
        expect(inserted).toEqual([[one]]);
        expect(answer.position).toBe(position);
      }
    });

    test('live channels continue in order while another channel resumes', async () => {
      const client = await here.client('end', 'room:e');
      const { position } = await client.subscribe('room:f');
      client.send({ type: 'unsubscribe', channel: 'room:f' });
      for (let count = 0; count < 200; count++) await insert(count % 2 === 0 ? 'e' : 'f');
      await changesOf(here, client, async () => {
        const resuming = client.subscribe('room:f', { since: position as string });
        for (let count = 0; count < 50; count++) await insert(count % 2 === 0 ? 'e' : 'f');
        await resuming;
      });
      for (const room of ['room:e', 'room:f']) {
        const lsns = client.of(room).map(({ position }) => lsnOf(position as string));
        expect(lsns.length).toBe(125);
        expect(lsns).toEqual([...new Set(lsns)].sort((a, b) => a - b));
      }
    });
  });

  describe('since a position that is not of this history', () => {
    let position: string;
    const withEpoch = (change: (parts: string[]) => void) => {
      const [epoch, ...rest] = position.split(':') as [string, ...string[]];
      const parts = epoch.split('-');
      change(parts);
      return [parts.join('-'), ...rest].join(':');
    };

    beforeAll(async () => {
      position = (await (await here.client('end')).subscribe('room:a')).position as string;
    });

    test('another server, another timeline: epoch_changed', async () => {
      for (const index of [0, 1]) {
        const since = withEpoch((parts) => {
          parts[index] = `${parts[index] === '2' ? '3' : '2'}`;
        });
        expect((await resume(here, 'room:a', since)).answer).toMatchObject(reset('epoch_changed'));
      }
    });

    test('another generation of the slot: slot_lost', async () => {
      const since = withEpoch((parts) => {
        parts[2] = 'zz';
      });
      expect((await resume(here, 'room:a', since)).answer).toMatchObject(reset('slot_lost'));
    });

    test('a point that this history has not reached: epoch_changed', async () => {
      const [epoch] = position.split(':');
      expect((await resume(here, 'room:a', `${epoch}:FFFF/0:1`)).answer).toMatchObject(reset('epoch_changed'));
    });

    test('from before the slot began: position_too_old', async () => {
      const [epoch] = position.split(':');
      expect((await resume(here, 'room:a', `${epoch}:0/1:1`)).answer).toMatchObject(reset('position_too_old'));
    });

    test.each(['', 'x', '0/1', '1-1-1:0/1', '1-1-1:0/1:-1', '1-1-1:0/1:1:1', '1-1-1:G/1:1'])(
      '%j: position_invalid',
      async (since) => {
        const client = await here.client();
        expect(await client.subscribe('room:a', { since })).toMatchObject({ type: 'error', code: 'position_invalid' });
        expect(await client.subscribe('room:a')).toMatchObject({ type: 'subscribed' });
      },
    );

    test('beside snapshot: position_invalid', async () => {
      const client = await here.client();
      const answer = await client.subscribe('room:a', { since: position, snapshot: true });
      expect(answer).toMatchObject({ type: 'error', code: 'position_invalid' });
    });
  });

  describe('after kill -9 and a restart', () => {
    test('a client that resumes anywhere in a burst receives each later commit once and in order', async () => {
      const client = await here.client('end');
      const { position: start } = await client.subscribe('room:k');
      const expected: number[] = [];
      for (let count = 0; count < 300; count++) expected.push(await insert('k'));
      await client.until('half of the burst', () => client.of('room:k').length >= 150);
      const middle = client.of('room:k')[149] as Frame;
      expect((await here.slot()).confirmed).toBeLessThanOrEqual(lsnOf(start as string));
      await here.service.kill();
      for (let count = 0; count < 20; count++) expected.push(await insert('k'));
      await here.service.restart();
      expect((await here.slot()).confirmed).toBeLessThanOrEqual(lsnOf(start as string));
      const all = await resume(here, 'room:k', start as string);
      expect(all.answer).toMatchObject(recovered(start as string));
      expect(all.inserted).toEqual(expected.map((id) => [id]));
      const rest = await resume(here, 'room:k', middle.position as string);
      expect(rest.inserted).toEqual(expected.slice(150).map((id) => [id]));
    });

    test('a client resumes from the position of a heartbeat on an idle database', async () => {
      const client = await here.client('end');
      await client.subscribe('room:i');
      await changesOf(here, client, async () => undefined);
      const heartbeat = await client.heartbeat();
      await here.service.kill();
      await here.service.restart();
      const id = await insert('i');
      const { answer, inserted } = await resume(here, 'room:i', heartbeat);
      expect(answer).toMatchObject(recovered(heartbeat));
      expect(inserted).toEqual([[id]]);
    });
  });
});

/** More than 1 MB of WAL in a table that no channel reads. */
const writeUnrelated = (here: Stage) =>
  here.query('insert into unrelated (body) select repeat(md5(i::text), 60) from generate_series(1, 1000) i');

describe('the bounds of the journal', () => {
  test.each([
    ['in bytes', { SNO_REPLAY_BYTES: '20kB' }],
    ['in age', { SNO_REPLAY_SECONDS: '1' }],
  ])('%s: positions beyond it are position_too_old, positions within it resume', async (_, settings) => {
    const here = await stage(SCHEMA, settings);
    try {
      const client = await here.client('end');
      const { position } = await client.subscribe('room:a');
      let last: string | undefined;
      let id = 0;
      await until(async () => {
        await here.query("insert into notes values ($1, 'a', repeat('x', 1000))", [++id]);
        const { answer } = await resume(here, 'room:a', position as string);
        if (answer.type === 'reset') expect(answer.reason).toBe('position_too_old');
        last = client.of('room:a').at(-1)?.position;
        return answer.type === 'reset';
      }, 'the start is too old');
      expect((await resume(here, 'room:a', last as string)).answer).toMatchObject(recovered(last as string));
    } finally {
      await here.end();
    }
  });

  test('SNO_REPLAY_WAL_BYTES: while only other tables are written, the slot advances and releases WAL', async () => {
    const here = await stage(SCHEMA, { SNO_REPLAY_WAL_BYTES: '1MB' });
    try {
      const client = await here.client('end', 'room:a');
      const before = await here.slot();
      for (let count = 0; count < 8; count++) await writeUnrelated(here);
      const written = (await here.slot()).current;
      expect(written - before.confirmed).toBeGreaterThan(8e6);
      await until(
        async () => (await here.slot()).confirmed > written - 2 ** 20 - 2 ** 16,
        'the confirmed position follows',
      );
      await until(async () => {
        // Postgres moves restart_lsn past a record of running transactions, as checkpoints write
        // them, once it is confirmed
        await here.query('checkpoint');
        await writeUnrelated(here);
        return (await here.slot()).restart > written;
      }, 'the WAL is let go');
      expect(lsnOf(await client.heartbeat())).toBeGreaterThanOrEqual(written);
    } finally {
      await here.end();
    }
  });
});
