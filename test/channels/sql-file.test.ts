import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { loadParser } from '../../src/channels/sql/parse.ts';
import { readSqlFile } from '../../src/channels/sql/sql-file.ts';

let folder: string;
beforeAll(async () => {
  await loadParser();
  folder = await mkdtemp(join(tmpdir(), 'sno-sql-'));
});
afterAll(() => rm(folder, { recursive: true }));

async function read(content: string | Buffer) {
  const path = join(folder, 'x.sql');
  await writeFile(path, content);
  return readSqlFile(path, 'x.sql');
}

test.each([
  ['UTF-16', Buffer.from('\u{feff}select 1;', 'utf16le'), 'x.sql is not UTF-8'],
  [
    'commands of psql',
    'select 1;\r\n \\echo hi\r\nselect 2;',
    'x.sql:2:2: syntax error at or near "\\": psql commands are not SQL\n  \\echo hi\n  ^',
  ],
  [
    'a syntax error in the middle',
    "\u{feff}select 'ü'; selec 1;\nselect 2;",
    'x.sql:1:13: syntax error at or near "selec"\n  select \'ü\'; selec 1;\n              ^^^^^',
  ],
  ['the end of the transaction', 'select 1;\n  COMMIT;', 'x.sql:2:3: Snö applies all files in one transaction'],
  ['two transactions', 'begin; select 1; commit;\nbegin; select 2; commit;', 'make a file of each transaction'],
  ['a transaction in its middle', 'select 1; begin; select 2; commit;', 'x.sql:1:11: '],
  ['a transaction that is undone', 'begin; select 1; rollback;', 'x.sql:1:18: '],
  ['a transaction without an end', 'begin; select 1;', 'x.sql:1:1: '],
  ['an undoing alone', 'select 1; rollback;', 'this would undo the file'],
  ['a savepoint', 'begin; savepoint a; select 1; commit;', 'x.sql:1:8: '],
  ['a transaction that is prepared', "begin; select 1; prepare transaction 'x';", 'only one BEGIN'],
  ['a transaction that goes on', 'begin; select 1; commit and chain;', 'only one BEGIN'],
  ['a BEGIN alone', 'begin; select 1;', 'only one BEGIN'],
  ["psql's way to another file", '\\i other.sql\nselect 1;', 'x.sql:1:1: syntax error at or near'],
])('refuses a file with %s, and shows the place', async (_, content, message) => {
  await expect(read(content)).rejects.toMatchObject({
    code: 'rules_failed',
    message: expect.stringContaining(message),
  });
});

test.each([
  ['begin', 'begin; select 1; create view channels.x as select 1; commit;'],
  ['work and transaction', 'BEGIN WORK; select 1; create view channels.x as select 1; COMMIT TRANSACTION'],
  [
    'start and end',
    'start transaction isolation level serializable; select 1; create view channels.x as select 1; end;',
  ],
  ['comments', '-- begin;\n/* one */ begin; -- two\nselect 1; create view channels.x as select 1;\ncommit; -- three\n'],
  [
    'settings before it',
    "set lock_timeout = '5s'; begin; select 1; create view channels.x as select 1; commit; reset all;",
  ],
  [
    'settings of psql',
    "\\set ON_ERROR_STOP on\n\\pset null it's; \nbegin;\n  \\timing\nselect 1; create view channels.x as select 1;\ncommit;\n\\timing",
  ],
])('ignores a single transaction around the file: %s', async (_, content) => {
  const { statements, content: kept } = await read(content);
  expect(kept.toString()).toBe(content);
  const made = statements.filter(({ isSetting }) => !isSetting);
  expect(made.map(({ sql }) => sql)).toEqual(['select 1', 'create view channels.x as select 1']);
  expect(made.map(({ start }) => start)).toEqual([content.indexOf('select 1'), content.indexOf('create view')]);
});

test('a begin and a commit in a function are not transaction control', async () => {
  const { statements } = await read(
    'create procedure p() language plpgsql as $$ begin commit; end $$; create function f() returns int begin atomic select 1; end;',
  );
  expect(statements).toHaveLength(2);
});

test('reads statements of a file with a byte order mark and CRLF', async () => {
  const { statements, content } = await read(
    '\u{feff}-- first\r\nselect 1;\r\n\r\ncreate view channels.x as\r\nselect 1;\r\n',
  );
  expect(statements.map(({ sql }) => sql)).toEqual(['select 1', 'create view channels.x as\r\nselect 1']);
  expect(statements.map(({ start }) => content.indexOf('select 1;') === start)).toEqual([true, false]);
  expect(statements[1]?.view).toEqual({ schema: 'channels', name: 'x' });
});

test('reads a large file', async () => {
  const row = `insert into t values (1, '${'ö'.repeat(500)}');\n`;
  const { statements } = await read(`${row.repeat(10_000)}create view channels.x as select 1;`);
  expect(statements).toHaveLength(10_001);
  expect(statements.at(-1)).toMatchObject({ start: 10_000 * Buffer.byteLength(row), view: { name: 'x' } });
});
