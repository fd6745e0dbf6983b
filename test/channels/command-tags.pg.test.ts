/**
 * docs/ddl.md has a decision for every command that fires event triggers. A new command in a new
 * Postgres fails here.
 */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { freshDatabase, SERVERS } from '../support/postgres.ts';

const PAGE = new URL('../../docs/ddl.md', import.meta.url);

/** Returns the candidates that a server accepts as commands which fire event triggers. */
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

test.each(SERVERS)('Postgres %s: docs/ddl.md lists every command that fires event triggers', async (kind) => {
  const database = await freshDatabase(kind);
  try {
    const { rows: config } = await database.query<{ setting: string }>(
      "select setting from pg_config where name = 'BINDIR'",
    );
    // the names of all commands are strings in the server's program; on 19, `postgres` is a script
    // that starts it
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
