/** Malformed pgoutput: real messages that are cut short, lengthened or changed. */
import fc from 'fast-check';
import { beforeAll, expect, test } from 'vitest';
import { PgoutputDecoder } from '../../src/decode/pgoutput.ts';
import type { Tuple } from '../../src/decode/tuple.ts';
import { SnoError } from '../../src/errors.ts';
import { freshDatabase } from '../support/postgres.ts';
import { decodeAll, Events, record } from './recording.ts';

let messages: Buffer[];
/** Messages that the decoder must read before it can read a row. */
let relations: Buffer[];

beforeAll(async () => {
  const database = await freshDatabase();
  await database.query('create publication p for all tables');
  const recording = await record(database, 'p');
  await database.query(`
    create table t (id int primary key, a text, b numeric, big text);
    create table f (id int, a text); alter table f replica identity full;
    alter table t alter big set storage external`);
  await database.query(`
    begin;
    insert into t select 1, 'text', 1.5, string_agg(md5(i::text), '') from generate_series(1, 100) i;
    insert into t values (2, null, null, '');
    update t set a = 'other' where id = 1;
    update t set id = 3 where id = 1;
    delete from t where id = 3;
    insert into f values (1, 'a');
    update f set a = '';
    delete from f;
    select pg_logical_emit_message(true, 'prefix', 'content');
    truncate t, f;
    commit`);
  messages = await recording.take();
  relations = messages.filter((message) => message[0] === 'R'.charCodeAt(0));
  await database.drop();
});

/** Checks that rows lie within their message. */
class Bounded extends Events {
  start = 0;
  end = 0;

  override insert(...[relation, row]: Parameters<Events['insert']>): void {
    this.#check(row);
    super.insert(relation, row);
  }

  override update(...[relation, old, row]: Parameters<Events['update']>): void {
    if (old !== undefined) this.#check(old);
    this.#check(row);
    super.update(relation, old, row);
  }

  override delete(...[relation, old]: Parameters<Events['delete']>): void {
    this.#check(old);
    super.delete(relation, old);
  }

  override message(...[prefix, lsn, buffer, start, end]: Parameters<Events['message']>): void {
    this.#within(start, end);
    super.message(prefix, lsn, buffer, start, end);
  }

  #check({ kinds, starts, ends }: Tuple): void {
    for (const [column, kind] of kinds.entries()) {
      if (kind === 1) this.#within(starts[column] as number, ends[column] as number);
    }
  }

  #within(start: number, end: number): void {
    expect(this.start <= start && start <= end && end <= this.end).toBe(true);
  }
}

/**
 * Decodes a message between other bytes. Returns whether it was accepted. Throws for any error but
 * decode_failed.
 */
function isTaken(message: Buffer, around: Buffer): boolean {
  const events = new Bounded();
  const decoder = new PgoutputDecoder(events);
  decodeAll(relations, decoder);
  events.start = around.length;
  events.end = around.length + message.length;
  try {
    decoder.message(Buffer.concat([around, message, around]), events.start, events.end);
    return true;
  } catch (error) {
    if (error instanceof SnoError && error.code === 'decode_failed') return false;
    throw error;
  }
}

const pick = fc.nat().map((index) => messages[index % messages.length] as Buffer);
const around = fc.uint8Array({ maxLength: 64 }).map((bytes) => Buffer.from(bytes));
/** The decoder ignores types and origins. It would ignore non-transactional messages too. */
const isRead = (message: Buffer) => !['Y', 'O'].includes(String.fromCharCode(message[0] as number));

test('accepts the unchanged messages, whatever lies around them', () => {
  expect(messages.length).toBeGreaterThan(12);
  fc.assert(fc.property(pick, around, (message, bytes) => isTaken(message, bytes)));
});

test('refuses a message that is cut short anywhere', () => {
  const cut = fc.tuple(pick.filter(isRead), fc.nat()).map(([message, at]) => message.subarray(0, at % message.length));
  fc.assert(
    fc.property(cut, around, (message, bytes) => !isTaken(message, bytes)),
    { numRuns: 2_000 },
  );
});

test('refuses an empty message, whatever byte lies behind it', () => {
  expect(isTaken(Buffer.alloc(0), Buffer.from('Y'))).toBe(false);
});

test('refuses a message that continues after its end', () => {
  const isOpen = (message: Buffer) =>
    isRead(message) && !['B', 'C'].includes(String.fromCharCode(message[0] as number));
  const more = fc.uint8Array({ minLength: 1, maxLength: 20 });
  const longer = fc.tuple(pick.filter(isOpen), more).map(([message, bytes]) => Buffer.concat([message, bytes]));
  fc.assert(
    fc.property(longer, around, (message, bytes) => !isTaken(message, bytes)),
    { numRuns: 500 },
  );
});

test('accepts or refuses a message with changed bytes, and reads nothing beyond it', () => {
  const changes = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 8 });
  const changed = fc.tuple(pick, changes).map(([message, bytes]) => {
    const copy = Buffer.from(message);
    // only the first bytes have structure: a large value is at the end
    for (const [at, byte] of bytes) copy[at % Math.min(copy.length, 60)] = byte;
    return copy;
  });
  const outcomes = new Set<boolean>();
  fc.assert(
    fc.property(changed, around, (message, bytes) => {
      outcomes.add(isTaken(message, bytes));
    }),
    { numRuns: 10_000 },
  );
  expect(outcomes).toEqual(new Set([true, false]));
});

test('accepts or refuses arbitrary bytes', () => {
  const bytes = fc.uint8Array({ maxLength: 100 }).map((array) => Buffer.from(array));
  const letter = fc.constantFrom(...'BCDIMORTUY').map((text) => Buffer.from(text));
  const message = fc.oneof(
    bytes,
    fc.tuple(letter, bytes).map((parts) => Buffer.concat(parts)),
  );
  fc.assert(
    fc.property(message, around, (content, outside) => {
      isTaken(content, outside);
    }),
    { numRuns: 5_000 },
  );
});
