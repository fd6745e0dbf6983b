/**
 * Finds functions of views whose bodies use names that the search_path of the view's owner lacks.
 * Postgres accepts such a view but cannot evaluate it. The functions are not called, so the
 * existing rows do not matter.
 */
import type pg from 'pg';
import type {
  Catalog,
  CatalogAccess,
  CatalogChannel,
  CatalogFunction,
  ViewSchema,
} from '../../channels/catalog/catalog.ts';
import { quoteIdentifier } from '../../postgres/quote.ts';
import { type LookedUp, lookedUp } from './function-names.ts';

export interface PathFault {
  readonly schema: ViewSchema;
  readonly pattern: string;
  readonly message: string;
  /** SQL that fixes it, or a comment if no schema has the name. */
  readonly hint: string;
}

/** Call within a transaction; leaves it unchanged. */
export async function pathFaults(client: pg.ClientBase, { channels, access }: Catalog): Promise<readonly PathFault[]> {
  const faults: PathFault[] = [];
  for (const channel of channels) faults.push(...(await faultsOf(client, 'channels', channel)));
  for (const view of access) faults.push(...(await faultsOf(client, view.schema, view)));
  return faults;
}

async function faultsOf(
  client: pg.ClientBase,
  schema: PathFault['schema'],
  { pattern, searchPath, functions }: CatalogChannel | CatalogAccess,
): Promise<readonly PathFault[]> {
  const called = functions.filter(({ needsPath, builtin }) => needsPath && !builtin);
  if (called.length === 0) return [];
  await client.query('savepoint sno_path');
  try {
    await client.query("select set_config('search_path', $1, true)", [searchPath]);
    const faults: PathFault[] = [];
    for (const each of called)
      for (const fault of await functionFaults(client, each, searchPath))
        faults.push({
          schema,
          pattern,
          hint: fault.hint,
          message: `${schema}.${quoteIdentifier(pattern)}: ${fault.message}`,
        });
    return faults;
  } finally {
    await client.query('rollback to savepoint sno_path');
  }
}

interface Declared {
  readonly oid: number;
  readonly signature: string;
  readonly language: string;
  readonly definition: string;
  readonly body: string;
}

const DECLARED = `
  select p.oid::int8::int as oid, format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)) as signature,
    l.lanname as language, pg_get_functiondef(p.oid) as definition, p.prosrc as body
  from pg_proc p join pg_namespace n on n.oid = p.pronamespace join pg_language l on l.oid = p.prolang
  where n.nspname = $1 and p.proname = $2 and p.prokind = 'f'
    and array(select t.typname::text from unnest(p.proargtypes) with ordinality a (type, at) join pg_type t on t.oid = a.type order by a.at) = $3::text[]`;

/** Each missing name with its kind, and the schemas that have it. */
const MISSING = `
  select 'function ' || quote_ident(f) || '()' as what,
    array(select distinct n.nspname::text from pg_proc p join pg_namespace n on n.oid = p.pronamespace where p.proname = f) as schemas
  from unnest($1::text[]) f where not exists (select from pg_proc p where p.proname = f and pg_function_is_visible(p.oid))
  union all
  select 'operator ' || o,
    array(select distinct n.nspname::text from pg_operator p join pg_namespace n on n.oid = p.oprnamespace where p.oprname = o)
  from unnest($2::text[]) o where not exists (select from pg_operator p where p.oprname = o and pg_operator_is_visible(p.oid))
  union all
  select 'relation ' || quote_ident(r),
    array(select distinct n.nspname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.relname = r)
  from unnest($3::text[]) r where to_regclass(quote_ident(r)) is null
  union all
  select 'type ' || quote_ident(t),
    array(select distinct n.nspname::text from pg_type c join pg_namespace n on n.oid = c.typnamespace where c.typname = t)
  from unnest($4::text[]) t where to_regtype(quote_ident(t)) is null`;

/** SQLSTATEs of a validator for a missing function, table, object, column or schema. */
const NOT_FOUND: ReadonlySet<unknown> = new Set(['42883', '42P01', '42704', '42703', '3F000']);
const VALIDATORS: Readonly<Record<string, string>> = { sql: 'fmgr_sql_validator', plpgsql: 'plpgsql_validator' };

async function functionFaults(
  client: pg.ClientBase,
  { schema, name, arguments: types }: CatalogFunction,
  path: string,
): Promise<readonly { readonly message: string; readonly hint: string }[]> {
  const [declared] = (await client.query<Declared>(DECLARED, [schema, name, types])).rows;
  if (declared === undefined) return [];
  const { signature } = declared;
  const missing = await missingNames(client, lookedUp(declared.language, declared.definition, declared.body));
  const [first] = missing;
  const cause =
    first === undefined
      ? await invalidBy(client, declared)
      : `${missing.map(({ what }) => what).join(', ')} ${missing.length === 1 ? 'does' : 'do'} not exist`;
  if (cause === undefined) return [];
  const schemas = new Set(missing.flatMap((each) => (each.schemas.length === 1 ? each.schemas : [''])));
  const isKnown = first !== undefined && !schemas.has('');
  const added = [...schemas].map(quoteIdentifier).join(', ');
  return [
    {
      message: `${signature} cannot run under search_path ${path}, which the owner of the view has: ${cause}`,
      hint: isKnown
        ? `ALTER FUNCTION ${signature} SET search_path = ${path}, ${added};`
        : `-- Name it in ${signature} with its schema, or:\n-- ALTER FUNCTION ${signature} SET search_path = ...;`,
    },
  ];
}

async function missingNames(client: pg.ClientBase, { functions, operators, relations, types }: LookedUp) {
  const names = [functions, operators, relations, types].map((each) => [...each]);
  if (names.every(({ length }) => length === 0)) return [];
  return (await client.query<{ readonly what: string; readonly schemas: string[] }>(MISSING, names)).rows;
}

/**
 * The error of the language's validator, which does not run the body. Undefined: it finds every
 * name.
 */
async function invalidBy(client: pg.ClientBase, { oid, language }: Declared): Promise<string | undefined> {
  const validator = VALIDATORS[language];
  if (validator === undefined) return undefined;
  await client.query('savepoint sno_body');
  try {
    await client.query(`set local check_function_bodies = on; select pg_catalog.${validator}(${oid})`);
    return undefined;
  } catch (error) {
    const { code, message } = error as { readonly code?: unknown; readonly message: string };
    return NOT_FOUND.has(code) ? message : undefined;
  } finally {
    await client.query('rollback to savepoint sno_body');
  }
}
