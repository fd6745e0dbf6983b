/**
 * Applies the rules folder (SNO_RULES): all its SQL files in the order of their names, in one
 * transaction.
 *
 * A folder is a declaration, applied at each start. An unchanged folder is skipped. In a changed
 * folder, an existing view of Snö's schemas is created again. If the result is the
 * same, the view is left as it was, so only channels that really changed are reset. Views that the
 * folder no longer declares are dropped, unless the folder of another Snö on this database declares
 * them. Each publication has a folder.
 *
 * Every other statement is simply run, so write it so that it can run twice. See
 * docs/decisions/0005-rules-folder.md.
 */
import { createHash } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import { failureAt, readSqlFile, type SqlFile } from '../channels/sql/sql-file.ts';
import type { Statement, ViewName } from '../channels/sql/statements.ts';
import { SnoError } from '../errors.ts';
import { createPlainClient, databaseError } from '../postgres/connect.ts';
import { quoteIdentifier } from '../postgres/quote.ts';

export interface RulesOutcome {
  /** False: the folder is unchanged since it was last applied. */
  readonly applied: boolean;
  readonly files: number;
  /** Views that neither the folder nor another one declares any more. */
  readonly dropped: readonly string[];
}

/**
 * Applies the folder of the Snö that reads this publication. A `rules_failed` error names file,
 * line and column, and means that nothing was applied. Opens its own connection, so that the
 * folder's SQL uses the role's search_path.
 */
export async function applyRules(directory: string, databaseUrl: string, publication: string): Promise<RulesOutcome> {
  const files = await readRules(directory);
  const client = createPlainClient(databaseUrl, 'rules');
  try {
    await client.connect();
    await client.query('begin');
    const outcome = await applyFiles(client, files, publication);
    await client.query('commit').catch((error: Error) => {
      throw new SnoError('rules_failed', `the transaction could not commit: ${error.message}`, { cause: error });
    });
    return outcome;
  } catch (error) {
    throw databaseError(error);
  } finally {
    await client.end().catch(() => {}); // rolls back what was not committed
  }
}

async function readRules(directory: string): Promise<SqlFile[]> {
  try {
    const names = (await readdir(directory)).filter((name) => name.endsWith('.sql')).sort();
    const files: SqlFile[] = [];
    for (const name of names) files.push(await readSqlFile(join(directory, name), name));
    return files;
  } catch (error) {
    if (error instanceof SnoError) throw error;
    throw new SnoError('rules_failed', `the rules folder cannot be read: ${(error as Error).message}`, {
      hint: 'Set SNO_RULES to a folder of SQL files that this process may read.',
      cause: error,
    });
  }
}

async function applyFiles(client: pg.Client, files: readonly SqlFile[], publication: string): Promise<RulesOutcome> {
  refuseTwice(files);
  await client.query("select pg_advisory_xact_lock(hashtextextended('sno rules', 0))");
  const hash = hashOf(files);
  const declared = files.flatMap(({ statements }) =>
    statements.flatMap(({ view }) => (view === undefined ? [] : [view])),
  );
  const setting = `rules of ${publication}`;
  if (await isApplied(client, { setting, hash, declared })) return { applied: false, files: files.length, dropped: [] };
  await runSqlFiles(client, files);
  const dropped = await dropOthers(client, publication, declared);
  await client.query(
    'insert into sno.settings (name, value) values ($1, $2) on conflict (name) do update set value = excluded.value',
    [setting, hash],
  );
  return { applied: true, files: files.length, dropped };
}

/** Runs files within the client's current transaction. A `rules_failed` error names the place. */
export async function runSqlFiles(client: pg.Client, files: readonly SqlFile[]): Promise<void> {
  for (const file of files) {
    for (const statement of file.statements) {
      try {
        await (statement.view === undefined
          ? client.query(statement.sql)
          : applyView(client, statement.sql, statement.view));
      } catch (error) {
        throw statementFailure(file, statement, error);
      }
    }
  }
}

function hashOf(files: readonly SqlFile[]): string {
  const hash = createHash('sha256');
  for (const { name, content } of files) hash.update(`${name}\0${content.length}\0`).update(content);
  return hash.digest('hex');
}

interface AppliedRules {
  /** The row of sno.settings that has the hash. */
  readonly setting: string;
  readonly hash: string;
  readonly declared: readonly ViewName[];
}

async function isApplied(client: pg.Client, { setting, hash, declared }: AppliedRules): Promise<boolean> {
  const { rows } = await client.query<{ value: string }>('select value from sno.settings where name = $1', [setting]);
  if (rows[0]?.value !== hash) return false;
  for (const view of declared) if ((await meaningOf(client, view)) === undefined) return false;
  return true;
}

/** A folder may declare each view only once. */
function refuseTwice(files: readonly SqlFile[]): void {
  const seen = new Set<string>();
  for (const file of files) {
    for (const { view, start } of file.statements) {
      if (view === undefined) continue;
      const name = nameOf(view);
      if (seen.has(name)) throw failureAt(file, start, `the folder declares ${name} twice`);
      seen.add(name);
    }
  }
}

/**
 * invalid_table_definition: OR REPLACE can only add columns. duplicate_table: OR REPLACE could not
 * be added.
 */
const NOT_REPLACEABLE = new Set<unknown>(['42P16', '42P07']);

/**
 * Creates a view. An existing view is replaced in place, so that grants on it and views above it
 * stay. It is dropped only if it cannot be replaced.
 */
async function applyView(client: pg.Client, sql: string, view: ViewName): Promise<void> {
  const before = await meaningOf(client, view);
  if (before === undefined) {
    await client.query(sql);
    return;
  }
  await client.query('savepoint sno_view');
  try {
    await replaceView(client, sql);
  } catch (error) {
    if (!NOT_REPLACEABLE.has((error as pg.DatabaseError).code)) throw error;
    await client.query('rollback to savepoint sno_view');
    await client.query(`drop view ${nameOf(view)}`);
    await client.query(sql);
  }
  if ((await meaningOf(client, view)) === before) await client.query('rollback to savepoint sno_view');
  await client.query('release savepoint sno_view');
}

async function replaceView(client: pg.Client, sql: string): Promise<void> {
  const replacing = sql.replace(/^create\s+view\b/i, 'create or replace view');
  try {
    await client.query(replacing);
  } catch (error) {
    // Converts the position to the statement as written.
    if (error instanceof pg.DatabaseError && error.position !== undefined) {
      error.position = String(Number(error.position) - (replacing.length - sql.length));
    }
    throw error;
  }
}

/** The view's definition as comparable text. Undefined if the view does not exist. */
async function meaningOf(client: pg.Client, { schema, name }: ViewName): Promise<string | undefined> {
  const { rows } = await client.query<{ meaning: string }>(
    `select json_build_array(pg_get_viewdef(c.oid), c.reloptions,
       (select json_agg(json_build_array(a.attname, a.atttypid, a.atttypmod, a.attcollation) order by a.attnum) from pg_attribute a where a.attrelid = c.oid and a.attnum > 0))::text as meaning
     from pg_class c where c.relnamespace = to_regnamespace($1) and c.relname = $2 and c.relkind = 'v'`,
    [schema, name],
  );
  return rows[0]?.meaning;
}

/**
 * Drops views that the folder declared when it was last applied, and that no folder declares any
 * more. Stores the current ones.
 */
async function dropOthers(client: pg.Client, publication: string, declared: readonly ViewName[]): Promise<string[]> {
  const before = await client.query<ViewName>('delete from sno.rules where publication = $1 returning schema, name', [
    publication,
  ]);
  const elsewhere = await client.query<ViewName>(
    'select schema, name from sno.rules where publication in (select name from sno.publications)',
  );
  const kept = new Set([...declared, ...elsewhere.rows].map(nameOf));
  const gone = before.rows.map(nameOf).filter((name) => !kept.has(name));
  for (const name of gone) await client.query(`drop view if exists ${name}`);
  for (const { schema, name } of declared) {
    await client.query('insert into sno.rules (publication, schema, name) values ($1, $2, $3) on conflict do nothing', [
      publication,
      schema,
      name,
    ]);
  }
  return gone;
}

function nameOf({ schema, name }: ViewName): string {
  return `${schema}.${quoteIdentifier(name)}`;
}

/**
 * Postgres counts characters from 1 in the statement. Without a position, the error names the start
 * of the statement.
 */
function statementFailure(file: SqlFile, { sql, start }: Statement, error: unknown): SnoError {
  if (!(error instanceof pg.DatabaseError)) return databaseError(error);
  const position = Number(error.position ?? 1) - 1;
  const at = start + Buffer.byteLength([...sql].slice(0, position).join(''));
  const rest = [error.detail, error.hint].filter((text) => text !== undefined && text !== '');
  return failureAt(file, at, [error.message, ...rest].join('\n'), error);
}
