/**
 * Views that join, against Postgres as the oracle: random views, random transactions. What clients
 * hold at each commit equals the SELECT there.
 */
import { describe, expect, test } from 'vitest';
import { freshDatabase, type TestDatabase, VERSIONS } from '../support/postgres.ts';
import { until } from '../support/wait.ts';
import { Draw, type RandomView, randomTransaction, randomView, SCHEMA } from './random-joins.ts';
import { type Follower, shown, world } from './world.ts';

const VIEWS = Number(process.env['JOIN_VIEWS'] ?? 6);
const COMMITS = Number(process.env['JOIN_COMMITS'] ?? 80);
const SEED = Number(process.env['JOIN_SEED'] ?? 1);

/** One SELECT for all channels, each as a JSON array. */
function selectAll(views: readonly RandomView[]): string {
  const parts = views.flatMap(({ pattern, channels }) =>
    channels.map(
      ({ name, g }) =>
        `'${name}', (select coalesce(json_agg(row_to_json(v)), '[]') from channels."${pattern}" v${g === undefined ? '' : ` where g = ${g}`})`,
    ),
  );
  const chunks: string[] = [];
  for (let at = 0; at < parts.length; at += 40)
    chunks.push(`jsonb_build_object(${parts.slice(at, at + 40).join(', ')})`);
  return `select (${chunks.join(' || ')})::text as states, pg_current_xact_id_if_assigned()::text as xid`;
}

function statesOf(text: string): ReadonlyMap<string, string> {
  const states = JSON.parse(text) as Record<string, readonly Record<string, unknown>[]>;
  return new Map(Object.entries(states).map(([name, rows]) => [name, shown(rows.map(sorted))]));
}

const sorted = (row: Record<string, unknown>) => Object.fromEntries(Object.entries(row).sort());

/** Writes random transactions. Some fail, as they conflict. Returns how many were committed. */
async function write(database: TestDatabase, random: Draw, transactions: number): Promise<number> {
  const client = await database.connect();
  await client.query("set lock_timeout = '100ms'; set deadlock_timeout = '50ms'");
  let committed = 0;
  for (let count = 0; count < transactions; count++)
    await client.query(`begin; ${randomTransaction(random).join(';')}; commit`).then(
      () => committed++,
      () => client.query('rollback'),
    );
  return committed;
}

function tell(version: number, how: string, commits: number): void {
  process.stdout.write(`joins: Postgres ${version}, seed ${SEED}, ${VIEWS} views, ${commits} commits ${how}\n`);
}

async function createViews(database: TestDatabase, random: Draw): Promise<RandomView[]> {
  await database.query(SCHEMA);
  await database.query('create table ends (id int primary key); create view channels.ends as select id from ends');
  const views = Array.from({ length: VIEWS }, (_, number) => randomView(random, number));
  for (const { sql } of views) await database.query(sql);
  await write(database, random, 30);
  return views;
}

describe.each(VERSIONS)('Postgres %i', (version) => {
  test('clients that join while 8 writers commit hold in the end what the views show', {
    timeout: 600_000,
  }, async () => {
    const database = await freshDatabase(version);
    const random = new Draw(SEED * 2_000 + version);
    const views = await createViews(database, random);
    const here = await world(database);
    try {
      const names = views.flatMap(({ channels }) => channels.map(({ name }) => name));
      const followers: Follower[] = names.map((name) => here.follow(name));
      let isWriting = true;
      const writers = Array.from({ length: 8 }, (_, index) =>
        write(database, new Draw(SEED * 100 + index), COMMITS / 4),
      );
      const written = Promise.all(writers).then((counts) => {
        isWriting = false;
        return counts.reduce((sum, count) => sum + count, 0);
      });
      while (isWriting) {
        const follower = here.follow(random.pick(names), true);
        followers.push(follower);
        await follower.view.ready;
      }
      tell(version, 'with 8 writers', await written);
      const { rows } = await database.query<{ states: string }>(selectAll(views));
      const end = statesOf(rows[0]?.states as string);
      for (const follower of followers) {
        const { channel } = follower;
        await until(() => shownAgain(follower) === end.get(channel), `${channel} is at its end`, 20_000).catch(() =>
          expect.soft(shownAgain(follower), `${channel}: ${sqlOf(views, channel)}`).toBe(end.get(channel)),
        );
      }
      expect(here.log.filter((line) => /bug|error/.test(line))).toEqual([]);
    } finally {
      await here.end();
      await database.drop();
    }
  });

  test('clients hold at each commit what the views show there', { timeout: 600_000 }, async () => {
    const database = await freshDatabase(version);
    const random = new Draw(SEED * 1_000 + version);
    const views = await createViews(database, random);
    const here = await world(database);
    try {
      expect(here.log.filter((line) => /refused|is not served/.test(line))).toEqual([]);
      const followers = new Map(
        views.flatMap(({ channels }) => channels.map(({ name }) => [name, here.follow(name)] as const)),
      );
      const ends = here.follow('ends');
      for (const follower of [...followers.values(), ends]) await follower.view.ready;
      const expected: { readonly xid: number; readonly states: ReadonlyMap<string, string> }[] = [];
      const select = selectAll(views);
      for (let commit = 0; commit < COMMITS; commit++) {
        await database.query('begin');
        try {
          for (const statement of randomTransaction(random)) await database.query(statement);
        } catch {
          await database.query('rollback');
          continue;
        }
        const { rows } = await database.query<{ states: string; xid: string | null }>(select);
        await database.query('commit');
        const [{ states, xid }] = rows as [{ states: string; xid: string | null }];
        if (xid === null) continue;
        expected.push({ xid: Number(BigInt(xid) & 0xffff_ffffn), states: statesOf(states) });
      }
      tell(version, 'one after the other', expected.length);
      // commits arrive in order over all channels of a connection
      await database.query('insert into ends values (1)');
      await until(() => ends.view.rows.length === 1, 'all commits have arrived', 60_000);
      const end = expected.at(-1)?.states as ReadonlyMap<string, string>;
      const faults: string[] = [];
      for (const [name, follower] of followers) {
        await until(() => shownAgain(follower) === end.get(name), `${name} is at its end`, 8_000).catch(() =>
          faults.push(`${name} ends with\n${shownAgain(follower)}\nexpected\n${end.get(name)}\n${sqlOf(views, name)}`),
        );
        const snapshots = follower.states.filter(({ xid }) => xid === 0).length;
        const after = `after ${snapshots} snapshots, of ${sqlOf(views, name)}`;
        faults.push(...compare(name, follower, expected).map((fault) => `${fault}\n${after}`));
      }
      expect(here.log.filter((line) => /reset|could not|bug|error/.test(line))).toEqual([]);
      expect(faults.slice(0, 3)).toEqual([]);
      expect([...followers.values()].reduce((sum, { states }) => sum + states.length, 0)).toBeGreaterThan(COMMITS / 4);
    } finally {
      await here.end();
      await database.drop();
    }
  });
});

const shownAgain = (follower: Follower) =>
  shown(follower.view.rows.map((row) => sorted(row as Record<string, unknown>)));
const sqlOf = (views: readonly RandomView[], name: string) =>
  views.find(({ channels }) => channels.some((channel) => channel.name === name))?.sql ?? '';

/** The first difference between what a client held after each commit and what the view showed. */
function compare(
  name: string,
  follower: Follower,
  expected: readonly { readonly xid: number; readonly states: ReadonlyMap<string, string> }[],
): string[] {
  const held = new Map(follower.states.map(({ xid, rows }) => [xid, rows]));
  let current: string | undefined;
  for (const { xid, states } of expected) {
    const after = held.get(xid);
    if (after !== undefined) current = resorted(after);
    if (current === undefined) continue;
    if (current !== states.get(name)) return [`${name} after ${xid}:\n${current}\nexpected\n${states.get(name)}`];
  }
  return [];
}

const resorted = (rows: string) =>
  rows === '' ? '' : shown(rows.split('\n').map((row) => sorted(JSON.parse(row) as Record<string, unknown>)));
