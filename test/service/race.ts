/**
 * Revocation racing with writes. A lane is a set of tables and channels, in which one case after
 * the other is drawn, run against the service, and judged. The order of commits is the order in
 * which a witness that may join every channel receives them.
 */
import type pg from 'pg';
import { expect } from 'vitest';
import type { Random } from '../oracle/random.ts';
import type { Frame, RawClient } from './raw-client.ts';

/** SNO_COMMIT_BYTES: a larger commit arrives in parts. `LARGE` rows are larger. */
export const COMMIT_BYTES = 2_000;
const LARGE = 12;

type Kind = 'own' | 'team' | 'cut';
interface Way {
  readonly kind: Kind;
  readonly revoke: string;
  readonly grant: string;
  readonly weight: number;
  /** The WAL reports it at the commit, after all rows. */
  readonly isDdl: boolean;
}

export function schemaOf(lane: number): string {
  return `
    create schema if not exists channels;
    create schema if not exists channel_access;
    create table notes${lane} (id bigint generated always as identity primary key, room int not null, tag text not null);
    alter table notes${lane} replica identity full;
    create table members${lane} (room int, member text, role text not null default 'editor', primary key (room, member));
    create table users${lane} (name text primary key, role text not null, team int not null);
    create table teams${lane} (team int primary key, room int not null);
    create table bans${lane} (name text primary key);
    create table cuts${lane} (room int, member text, primary key (room, member));
    create view channels."own${lane}:{room}" as select id, room, tag from notes${lane};
    create view channel_access."own${lane}:{room}" as select room, member as sub from members${lane} where role <> 'guest';
    create view channels."team${lane}:{room}" as select id, room, tag from notes${lane};
    create view channel_access."team${lane}:{room}" as
      select t.room, u.name as sub from teams${lane} t join users${lane} u using (team)
      where u.role = 'editor' and not exists (select from bans${lane} b where b.name = u.name);
    create view channels."cut${lane}:{room}" as select id, room, tag from notes${lane};
    create view channel_access."cut${lane}:{room}" as select room, member as sub from cuts${lane};
    create view channels."all${lane}" as select id, room, tag from notes${lane};
    create view channel_access."all${lane}" as select;
    insert into members${lane} values (1, 'm'), (1, 'n');
    insert into teams${lane} values (1, 1), (2, 1), (3, 3);
    insert into users${lane} values ('m', 'editor', 1), ('n', 'editor', 2);
    insert into cuts${lane} values (1, 'm');`;
}

function waysOf(lane: number): readonly Way[] {
  const view = `channel_access."cut${lane}:{room}"`;
  const way = (kind: Kind, revoke: string, grant: string, weight = 4): Way => ({
    kind,
    revoke,
    grant,
    weight,
    isDdl: revoke.startsWith('drop'),
  });
  return [
    way('own', `delete from members${lane} where member = 'm'`, `insert into members${lane} values (1, 'm')`),
    way(
      'own',
      `update members${lane} set role = 'guest' where member = 'm'`,
      `update members${lane} set role = 'editor' where member = 'm'`,
    ),
    way(
      'own',
      `update members${lane} set room = 2 where member = 'm'`,
      `update members${lane} set room = 1 where member = 'm'`,
    ),
    way(
      'team',
      `update users${lane} set role = 'guest' where name = 'm'`,
      `update users${lane} set role = 'editor' where name = 'm'`,
    ),
    way(
      'team',
      `update users${lane} set team = 3 where name = 'm'`,
      `update users${lane} set team = 1 where name = 'm'`,
    ),
    way('team', `update teams${lane} set room = 2 where team = 1`, `update teams${lane} set room = 1 where team = 1`),
    way('team', `delete from teams${lane} where team = 1`, `insert into teams${lane} values (1, 1)`),
    way('team', `insert into bans${lane} values ('m')`, `delete from bans${lane}`),
    way('cut', `truncate cuts${lane}`, `insert into cuts${lane} values (1, 'm')`),
    way('cut', `drop view ${view}`, `create view ${view} as select room, member as sub from cuts${lane}`, 1),
  ];
}

/** One commit, as the witness received it. */
interface Commit {
  readonly xid: number;
  readonly lsn: bigint;
  /** Rows of the room. */
  readonly ids: readonly number[];
  /** The rows that follow a revocation in the same commit. */
  readonly lateIds: readonly number[];
  readonly op: 'revoke' | 'grant' | undefined;
}

export interface LaneOptions {
  readonly lane: number;
  readonly random: Random;
  /** Two connections that write, and one that grants and revokes. */
  readonly connections: readonly [pg.ClientBase, pg.ClientBase, pg.ClientBase];
  /** Subscribes to `all`. */
  readonly witness: RawClient;
  /** Has access all the time, and subscribes to `all`, `own` and `team`. */
  readonly keeper: RawClient;
  /**
   * Clients that gain and lose access together. Each subscribes in its own way and at its own time.
   * They follow `all`.
   */
  readonly members: readonly RawClient[];
}

type Start = 'now' | 'snapshot' | 'since';

/** A member in one case. */
interface Racer {
  readonly client: RawClient;
  readonly from: Start;
  /** Whether it subscribes before anything is written, or while rows are being written. */
  readonly isEarly: boolean;
}

/**
 * A notification by pg_notify, right after a commit of the plan: the round, and the commit's number
 * in the plan.
 */
interface Notice {
  readonly round: number;
  readonly step: number;
}

/** How cases ended: the test checks that every outcome occurs. */
export class Tally {
  readonly counts = new Map<string, number>();

  add(what: string, count = 1): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + count);
  }

  get text(): string {
    return [...this.counts].map(([what, count]) => `${count} ${what}`).join(', ');
  }
}

export class Lane {
  readonly #options: LaneOptions;
  readonly #tally: Tally;
  readonly #ways: readonly Way[];
  #tag = 0;
  #round = 0;
  #position: string | undefined;

  constructor(options: LaneOptions, tally: Tally) {
    this.#options = options;
    this.#tally = tally;
    this.#ways = waysOf(options.lane).flatMap((way) => Array.from({ length: way.weight }, () => way));
  }

  /** Draws one case for each member, runs and judges them. */
  async run(): Promise<void> {
    const { random, connections, members, witness, keeper, lane } = this.#options;
    this.#round++;
    const way = this.#ways[random.below(this.#ways.length)] as Way;
    const channel = `${way.kind}${lane}:1`;
    const racers = members.map((client): Racer => {
      const from = (['now', 'snapshot', 'since'] as const)[random.below(3)] as Start;
      return { client, from, isEarly: random.chance(0.6) };
    });
    const plan: readonly ('revoke' | 'grant')[] = [['revoke'], ['revoke', 'grant'], ['revoke', 'grant', 'revoke']][
      random.below(3)
    ] as ('revoke' | 'grant')[];
    const join = (racer: Racer) => this.#subscribe(racer, channel);
    await Promise.all(racers.filter(({ isEarly }) => isEarly).map(join));
    const notices: Notice[] = [];
    const [first, second, third] = connections;
    const writes = [1 + random.below(4), random.below(4)] as const;
    await Promise.all([
      this.#write(first, writes[0]),
      this.#write(second, writes[1]),
      this.#change(third, way, plan, channel, notices),
      ...racers.filter(({ isEarly }) => !isEarly).map((racer) => this.#turns().then(() => join(racer))),
    ]);
    const end = `end ${++this.#tag}`;
    await first.query(`insert into notes${lane} (room, tag) values (0, $1)`, [end]);
    const sawEnd = ({ channel: name, events }: Frame) =>
      name === `all${lane}` && (events ?? []).some(({ data }) => data?.['tag'] === end);
    await Promise.all([...members, witness, keeper].map((client) => client.wait(end, 0, sawEnd)));
    const commits = commitsOf(witness.of(`all${lane}`));
    const note = JSON.stringify({ lane, way, plan });
    for (const racer of racers) this.#judgeMember(note, channel, commits, way, plan, racer);
    for (const client of [...members, keeper])
      expect(xidsOf(client.of(`all${lane}`)), note).toEqual(commits.map(({ xid }) => xid));
    const inRoom = commits.filter(({ ids }) => ids.length > 0).map(({ xid }) => xid);
    for (const kind of ['own', 'team']) expect(xidsOf(keeper.of(`${kind}${lane}:1`)), note).toEqual(inRoom);
    if (way.kind !== 'cut') {
      await keeper.until('all notifications', () => keeper.of(channel, 'message').length >= notices.length);
      expect(
        keeper.of(channel, 'message').map(({ data }) => data),
        note,
      ).toEqual(notices);
    }
    expect(
      keeper.frames.filter(({ type }) => !['changes', 'message', 'heartbeat'].includes(type)),
      note,
    ).toEqual([]);
    if (plan.at(-1) === 'revoke') await third.query(way.grant);
    await Promise.all(members.map((client) => leave(client, channel)));
    this.#tally.add('cases', racers.length);
    this.#tally.add('notifications', notices.length);
    await this.#forget();
  }

  /** Starts again: forgets everything that was written and received. */
  async #forget(): Promise<void> {
    const { connections, members, witness, keeper, lane } = this.#options;
    const [first] = connections;
    const tag = `forgotten ${this.#tag}`;
    await first.query(`delete from notes${lane}`);
    await first.query(`insert into notes${lane} (room, tag) values (0, '${tag}')`);
    const has = ({ events }: Frame) => (events ?? []).some(({ data }) => data?.['tag'] === tag);
    const clients = [witness, keeper, ...members];
    const [frame] = await Promise.all(clients.map((client) => client.wait(tag, 0, has)));
    this.#position = frame?.position;
    for (const client of clients) client.frames.length = 0;
  }

  async #subscribe({ client, from }: Racer, channel: string): Promise<void> {
    const since = this.#position;
    const more = from === 'snapshot' ? { snapshot: true } : from === 'since' && since !== undefined ? { since } : {};
    const index = client.frames.length;
    client.send({ type: 'subscribe', channel, ...more });
    const answers = (frame: Frame) => frame.channel === channel && isAnswer(frame);
    await client.wait(`an answer to subscribe ${channel}`, index, answers);
  }

  async #turns(): Promise<void> {
    for (let left = this.#options.random.below(12); left > 0; left--)
      await new Promise((resolve) => setImmediate(resolve));
  }

  async #write(client: pg.ClientBase, count: number): Promise<void> {
    for (let index = 0; index < count; index++) {
      await this.#turns();
      await client.query(this.#insert('w'));
    }
  }

  /** Commits the plan. Adds the notifications that it sends to `notices`. */
  async #change(
    client: pg.ClientBase,
    way: Way,
    plan: readonly ('revoke' | 'grant')[],
    channel: string,
    notices: Notice[],
  ): Promise<void> {
    const { lane, random } = this.#options;
    for (const [step, op] of plan.entries()) {
      await this.#turns();
      const before = random.chance(0.5) ? `${this.#insert('before')};` : '';
      const after = random.chance(0.5) ? `${this.#insert(op === 'revoke' ? 'late' : 'after')};` : '';
      const mark = `insert into notes${lane} (room, tag) values (0, '${op}')`;
      await client.query(`begin; ${before} ${way[op]}; ${after} ${mark}; commit`);
      if (random.chance(0.5)) {
        const notice = { round: this.#round, step };
        notices.push(notice);
        await client.query("select pg_notify('sno', $1)", [JSON.stringify({ channel, data: notice })]);
      }
      if (random.chance(0.7)) await client.query(this.#insert('next'));
    }
  }

  #insert(what: string): string {
    const { lane, random } = this.#options;
    const count = random.chance(0.2) ? LARGE + random.below(3 * LARGE) : 1 + random.below(2);
    return `insert into notes${lane} (room, tag) select 1, '${what} ' || repeat('x', ${count === 1 ? 5 : 300}) from generate_series(1, ${count})`;
  }

  #judgeMember(
    note: string,
    channel: string,
    commits: readonly Commit[],
    { isDdl }: Way,
    plan: readonly ('revoke' | 'grant')[],
    { client, from, isEarly }: Racer,
  ): void {
    const isGranted = plan.at(-1) === 'grant';
    const frames = client.frames.filter((frame) => frame.channel === channel);
    const told = JSON.stringify(frames.map(({ type, code, xid, reason }) => [type, code ?? reason ?? xid]));
    const text = `${note} ${from} ${isEarly} ${told}`;
    const numberOf = new Map(commits.map(({ xid }, index) => [xid, index]));
    const commitOf = new Map(commits.flatMap(({ ids }, index) => ids.map((id) => [id, index] as const)));
    const lastRevoke = commits.findLastIndex(({ op }) => op === 'revoke');
    const endAt = frames.findIndex(({ type }) => type === 'unsubscribed');
    const isRefused = frames.some(({ type }) => type === 'error');
    const isFollowing = endAt === -1 && !isRefused;
    if (isFollowing) expect(isGranted, `heard on: ${text}`).toBe(true);
    if (endAt >= 0) {
      expect(frames.slice(endAt + 1), text).toEqual([]);
      expect(frames[endAt]?.code, text).toBe('access_revoked');
    }
    expect(
      frames.filter(({ type, code }) => type === 'reset' || (type === 'error' && !REFUSALS.includes(String(code)))),
      text,
    ).toEqual([]);
    const heard = frames.flatMap(({ events, rows, xid, part, last }) => {
      const ids = [...(events ?? []), ...(rows ?? [])].map(({ key }) => key?.['id'] as number);
      return { ids, xid, isPart: part !== undefined && last !== true && xid !== undefined };
    });
    const notices = frames.filter(({ type }) => type === 'message').map(({ data }) => data as Notice);
    const notified = notices.filter(({ round }) => round === this.#round).map(({ step }) => step);
    this.#tally.add('notifications heard', notified.length);
    if (!isFollowing) expect(Math.max(-1, ...notified), text).toBeLessThan(plan.lastIndexOf('revoke'));
    // nothing of the revoking commit or a later one; of its own parts, what came before it was
    // known
    if (!isFollowing)
      for (const { ids, isPart } of heard)
        for (const id of ids) {
          const at = commitOf.get(id) ?? -1;
          const isEarlyPart = isPart && at === lastRevoke && (isDdl || !commits[at]?.lateIds.includes(id));
          expect(at < lastRevoke || isEarlyPart, `${id} of commit ${at}, revoked at ${lastRevoke}: ${text}`).toBe(true);
        }
    this.#judgeWhole(text, frames, commits, numberOf, isFollowing);
    if (frames.some(({ code }) => code === 'try_again')) this.#tally.add('told to try again');
    this.#tally.add(isRefused ? 'refused' : isFollowing ? 'kept' : `ended (${from})`);
    this.#tally.add(
      'rows heard',
      heard.reduce((sum, { ids }) => sum + ids.length, 0),
    );
    this.#tally.add('commits', commits.length);
    if (frames.some(({ part }) => part !== undefined && part > 1)) this.#tally.add('with parts');
  }

  /**
   * The received commits have no gap. They reach to the last commit if the member still
   * follows.
   */
  #judgeWhole(
    text: string,
    frames: readonly Frame[],
    commits: readonly Commit[],
    numberOf: ReadonlyMap<number, number>,
    isFollowing: boolean,
  ): void {
    const subscribed = frames.find(({ type }) => type === 'subscribed');
    if (subscribed === undefined) return;
    const snapshot = new Set(frames.flatMap(({ rows }) => (rows ?? []).map(({ key }) => key['id'] as number)));
    const isSnapshot = frames.some(({ type }) => type === 'snapshot');
    const whole = frames.filter(({ type, last }) => type === 'changes' && last !== false);
    const told = new Set(whole.map(({ xid }) => xid as number));
    expect(told.size, text).toBe(whole.length);
    const start = lsnOf(subscribed.position as string);
    const due = commits.filter(
      ({ ids, lsn }) => ids.length > 0 && (isSnapshot ? !ids.every((id) => snapshot.has(id)) : lsn > start),
    );
    const lastTold = Math.max(-1, ...[...told].map((xid) => numberOf.get(xid) ?? -1));
    const reached = isFollowing ? commits.length : lastTold + 1;
    const expected = due.filter(({ xid }) => (numberOf.get(xid) as number) < reached).map(({ xid }) => xid);
    expect(
      [...told].sort((a, b) => a - b),
      text,
    ).toEqual(expected.sort((a, b) => a - b));
  }
}

/** While a view is created again, the database cannot be queried: that counts as a refusal. */
const REFUSALS: readonly string[] = ['access_denied', 'access_undeclared', 'try_again'];

/** Frames that tell whether the channel is subscribed. */
const ANSWERS: readonly string[] = ['subscribed', 'unsubscribed', 'error', 'reset'];

/** Unsubscribes from the channel if it is still subscribed. */
async function leave(client: RawClient, channel: string): Promise<void> {
  const last = client.frames.findLast((frame) => frame.channel === channel && isAnswer(frame));
  if (last?.type !== 'subscribed') return;
  client.send({ type: 'unsubscribe', channel });
  await client.wait('the end', 0, ({ code }) => code === 'client');
}

function isAnswer({ type }: Frame): boolean {
  return ANSWERS.includes(type);
}

function commitsOf(frames: readonly Frame[]): Commit[] {
  const commits: Commit[] = [];
  const byXid = new Map<number, Frame['events']>();
  for (const { xid = 0, lsn = '0/0', events = [], last } of frames) {
    const all = [...(byXid.get(xid) ?? []), ...events];
    byXid.set(xid, all);
    if (last === false) continue;
    const tagOf = ({ data }: (typeof all)[number]) => String(data?.['tag']);
    const inRoom = all.filter(({ data }) => data?.['room'] === 1);
    const idOf = ({ key }: (typeof all)[number]) => key?.['id'] as number;
    commits.push({
      xid,
      lsn: lsnValue(lsn),
      ids: inRoom.map(idOf),
      lateIds: inRoom.filter((event) => tagOf(event).startsWith('late')).map(idOf),
      op: (['revoke', 'grant'] as const).find((op) => all.some((event) => tagOf(event) === op)),
    });
  }
  return commits;
}

function xidsOf(frames: readonly Frame[]): (number | undefined)[] {
  return frames.filter(({ last }) => last !== false).map(({ xid }) => xid);
}

function lsnOf(position: string): bigint {
  return lsnValue(position.split(':')[1] as string);
}

function lsnValue(lsn: string): bigint {
  const [high, low] = lsn.split('/') as [string, string];
  return (BigInt(`0x${high}`) << 32n) | BigInt(`0x${low}`);
}
