/** docs/ddl.md decides about every command that fires event triggers: a new one in a new Postgres fails here. */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { freshDatabase, SERVERS } from '../support/postgres.ts';

const PAGE = new URL('../../docs/ddl.md', import.meta.url);

/** Which of these words a server takes for commands that fire event triggers. */
const PROBE = `
create function tags_of(candidates text[]) returns setof text language plpgsql as $$
declare
  candidate text;
begin
  create function probe() returns event_trigger language plpgsql as 'begin end';
  foreach candidate in array candidates loop
    begin
      execute format('create event trigger probe on ddl_command_end when tag in (%L) execute function probe()', candidate);
      drop event trigger probe;
      return next candidate;
    exception when syntax_error or feature_not_supported then null;
    end;
  end loop;
end $$`;

test.each(SERVERS)('Postgres %s: every command that fires event triggers stands in docs/ddl.md', async (kind) => {
  const database = await freshDatabase(kind);
  try {
    const { rows: config } = await database.query<{ setting: string }>(
      "select setting from pg_config where name = 'BINDIR'",
    );
    // the names of all commands are strings in the server's program; of 19, `postgres` is a script that starts it
    const path = `${config[0]?.setting}/postgres`;
    const program = await readFile(existsSync(`${path}.elf`) ? `${path}.elf` : path, 'latin1');
    const words = new Set(program.match(/(?<=\0)[A-Z][A-Z ]{2,60}(?=\0)/g));
    await database.query(PROBE);
    const { rows } = await database.query<{ tag: string }>('select tag from tags_of($1) tag', [[...words]]);
    const tags = rows.map(({ tag }) => tag);
    const decided = new Set([...(await readFile(PAGE, 'utf8')).matchAll(/`([A-Z][A-Z ]+)`/g)].map(([, tag]) => tag));
    expect(tags).toEqual(expect.arrayContaining(['CREATE VIEW', 'ALTER ROUTINE', 'DROP TABLE']));
    expect(tags.filter((tag) => !decided.has(tag))).toEqual([]);
  } finally {
    await database.drop();
  }
});
