/** What must be true of every subscriber when all is written: the judge shares no code with the server. */
import type { TestDatabase } from '../support/postgres.ts';
import type { Commits } from './commits-writers.ts';
import type { Subscriber } from './subscriber.ts';
import { lsnValue } from './subscriber.ts';

/** Every violation found, in words; an empty list is what is wanted. */
export async function violations(
  database: TestDatabase,
  subscribers: readonly Subscriber[],
  commits: Commits,
): Promise<string[]> {
  const found: string[] = [];
  for (const [index, subscriber] of subscribers.entries()) {
    const say = (text: string) => found.push(`subscriber ${index}: ${text}`);
    for (const text of subscriber.violations()) say(text);
    for (const { code, channel } of subscriber.errors) say(`error ${code} on ${channel}`);
    for (const text of orderOverChannels(subscriber)) say(text);
    for (const [channel, held] of subscriber.held) {
      const room = Number(channel.split(':')[1]);
      if (subscriber.snapshot) {
        for (const text of await compareRows(database, channel, room, held.rows)) say(`${channel}: ${text}`);
      }
      if (channel.startsWith('ledger'))
        for (const text of compareLedger(held, room, commits, subscriber.snapshot)) say(`${channel}: ${text}`);
    }
  }
  return found;
}

/** Snapshot + events = SELECT. */
async function compareRows(
  database: TestDatabase,
  channel: string,
  room: number,
  rows: ReadonlyMap<string, string>,
): Promise<string[]> {
  const { rows: expected } = await database.query<{ key: string; data: string }>(
    `select json_build_object('${channel.startsWith('ledger') ? 'entry' : 'id'}', ${channel.startsWith('ledger') ? 'v.entry' : 'v.id'})::text as key, row_to_json(v)::text as data
     from channels."${channel.split(':')[0]}:{room}" v where room = $1`,
    [room],
  );
  const found: string[] = [];
  const left = new Map(rows);
  for (const { key, data } of expected) {
    const id = JSON.stringify(JSON.parse(key));
    const held = left.get(id);
    if (held === undefined) found.push(`row ${id} is missing`);
    else if (held !== JSON.stringify(JSON.parse(data))) found.push(`row ${id} is ${held}, in the view ${data}`);
    left.delete(id);
  }
  for (const id of left.keys()) found.push(`row ${id} is not in the view`);
  return found;
}

/** Each commit once, whole, and none missing: of those after the start, or also before it where there was a snapshot. */
function compareLedger(
  held: Subscriber['held'] extends Map<string, infer H> ? H : never,
  room: number,
  commits: Commits,
  snapshot: boolean,
): string[] {
  const found: string[] = [];
  const seen = new Set<number>();
  for (const frame of held.changes) {
    const xid = frame.xid as number;
    const expected = commits.get(xid)?.get(room);
    const got = (frame.events ?? []).map(({ key }) => String((key as { entry: number }).entry));
    if (seen.has(xid)) found.push(`commit ${xid} came twice`);
    seen.add(xid);
    if (expected === undefined) found.push(`commit ${xid} is nobody's`);
    else if ([...expected].sort().join() !== got.sort().join())
      found.push(`commit ${xid} has ${got}, was written ${expected}`);
  }
  if (!snapshot) return found;
  for (const [xid, rooms] of commits) {
    const entries = rooms.get(room);
    if (entries === undefined) continue;
    const inSnapshot = entries.filter((entry) => held.initial.has(JSON.stringify({ entry: Number(entry) })));
    if (inSnapshot.length !== 0 && inSnapshot.length !== entries.length)
      found.push(`half of commit ${xid} is in the snapshot`);
    if (inSnapshot.length > 0 && seen.has(xid)) found.push(`commit ${xid} is in the snapshot and in the stream`);
    if (inSnapshot.length === 0 && !seen.has(xid)) found.push(`commit ${xid} is missing`);
  }
  return found;
}

/** Over all channels that are live on a connection together, commits come in order. */
function orderOverChannels({ frames, held }: Subscriber): string[] {
  const found: string[] = [];
  const live = new Set<string>();
  let last = 0n;
  for (const { type, channel = '', lsn, position } of frames) {
    if (type === 'welcome') live.clear();
    if (type === 'subscribed') {
      live.add(channel);
      // what is resumed is behind the others until it has caught up
      if (live.size === held.size) last = 0n;
    }
    if (type === 'reset') live.delete(channel);
    if (type !== 'changes' || live.size < held.size) continue;
    const value = lsnValue(lsn as string);
    if (value < last) found.push(`commit ${lsn} (${position}) came after a later one`);
    last = value;
  }
  return found;
}
