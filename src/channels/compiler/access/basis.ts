/**
 * Checks what the answer of an access view depends on. Snö detects changes of rows, definitions and
 * policies. A view that depends on anything else is refused, since Snö would not detect that access
 * ends. The clock is the exception: `sno check` warns of it.
 */
import { SnoError } from '../../../errors.ts';
import { quoteIdentifier, readableName } from '../../../postgres/quote.ts';
import type { CatalogAccess, CatalogFunction } from '../../catalog/catalog.ts';
import { isNaming, type Types } from '../../values/types.ts';
import { SETTLED_FUNCTIONS } from '../settled.ts';

/**
 * Stable functions that depend only on their arguments, or on enums, whose ALTER TYPE is detected.
 * More are in SETTLED_FUNCTIONS.
 */
const SETTLED_HERE: ReadonlySet<string> = new Set(
  (
    'json_agg(anyelement) json_agg_strict(anyelement) jsonb_agg(anyelement) jsonb_agg_strict(anyelement) ' +
    'json_object_agg(any,any) json_object_agg_strict(any,any) json_object_agg_unique(any,any) ' +
    'json_object_agg_unique_strict(any,any) jsonb_object_agg(any,any) jsonb_object_agg_strict(any,any) ' +
    'jsonb_object_agg_unique(any,any) jsonb_object_agg_unique_strict(any,any) ' +
    'generate_series(timestamptz,timestamptz,interval) generate_series(timestamptz,timestamptz,interval,text) ' +
    'enum_first(anyenum) enum_last(anyenum) enum_range(anyenum) enum_range(anyenum,anyenum)'
  ).split(' '),
);

/** Functions that return the time, or read text that may contain the word `now`. */
const CLOCK: ReadonlySet<string> = new Set(
  (
    'now() transaction_timestamp() statement_timestamp() clock_timestamp() timeofday() age(timestamptz) ' +
    'timezone(text,timetz) timezone(interval,timetz) timetz(time) ' +
    'json_to_record(json) json_to_recordset(json) jsonb_to_record(jsonb) jsonb_to_recordset(jsonb) ' +
    'json_populate_record(anyelement,json,bool) json_populate_recordset(anyelement,json,bool) ' +
    'jsonb_populate_record(anyelement,jsonb) jsonb_populate_recordset(anyelement,jsonb)'
  ).split(' '),
);

/** Keywords as pg_get_viewdef prints them. */
const CLOCK_KEYWORD = /\b(CURRENT_(?:DATE|TIME|TIMESTAMP)|LOCALTIME(?:STAMP)?)\b/g;
const SESSION_KEYWORD = /\b(CURRENT_(?:USER|ROLE|SCHEMA|CATALOG)|SESSION_USER|USER)\b/;
const QUOTED = /'(?:[^']|'')*'|"(?:[^"]|"")*"/g;

const DATE_OR_TIME = /^(date|time|timestamp)/;
const NAMING = /^reg/;

/** The error of an access view whose answer can change without an event. */
export function basisFault(access: CatalogAccess, types: Types): SnoError | undefined {
  const refuse = (what: string, hint?: string) =>
    new SnoError(
      'channel_refused',
      `${access.schema}.${quoteIdentifier(access.pattern)} ${what}: Snö would not notice when that ends access`,
      hint === undefined ? {} : { hint },
    );
  const [unnoticed] = access.basis.unnoticed;
  if (unnoticed !== undefined)
    return refuse(`reads ${unnoticed}`, 'Keep what decides about access in tables of your own.');
  for (const called of access.functions) {
    const name = called.builtin ? `${called.name}()` : `${readableName(called.schema, called.name)}()`;
    if (kindOf(called) !== 'unknown') continue;
    if (called.builtin) return refuse(`calls ${name}, which depends on the session or the server`);
    const declared = called.volatility === 'v' ? 'volatile' : 'stable';
    return refuse(
      `calls ${name}, which is declared ${declared}, so it may read tables`,
      'Write its query into the view. Or, if it depends only on its arguments, declare it immutable.',
    );
  }
  for (const text of expressionsOf(access)) {
    const [keyword] = SESSION_KEYWORD.exec(text) ?? [];
    if (keyword !== undefined)
      return refuse(
        `depends on ${keyword}, which is the value in the service's session`,
        'Add a column that is named like a claim of the token, such as sub.',
      );
  }
  const cast = access.castsByText.find((type) => NAMING.test(type));
  if (cast !== undefined) return refuse(`casts text to ${cast}, which names another object`);
  const column = access.columns.find(({ typeOid }) => isNaming(types.byOid(typeOid)));
  return column === undefined
    ? undefined
    : refuse(`shows ${readableName(column.name)} as ${column.type}, which prints as the name of another object`);
}

/** The parts of an access view that depend on the current time. */
export function clockUses(access: CatalogAccess): string[] {
  const functions = access.functions.filter((called) => kindOf(called) === 'clock').map(({ name }) => `${name}()`);
  const keywords = expressionsOf(access).flatMap((text) => text.match(CLOCK_KEYWORD) ?? []);
  const casts = access.castsByText.filter((type) => DATE_OR_TIME.test(type)).map((type) => `a cast of text to ${type}`);
  return [...new Set([...functions, ...keywords, ...casts])];
}

function kindOf({ name, arguments: types, volatility, builtin }: CatalogFunction): 'settled' | 'clock' | 'unknown' {
  const signature = `${name}(${types.join(',')})`;
  if (builtin && CLOCK.has(signature)) return 'clock';
  if (volatility === 'i') return 'settled';
  if (!builtin) return 'unknown';
  return SETTLED_FUNCTIONS.has(signature) || SETTLED_HERE.has(signature) ? 'settled' : 'unknown';
}

/**
 * The definitions and policies that are evaluated when access is checked, without their quoted
 * parts.
 */
function expressionsOf({ definition, through, basis }: CatalogAccess): string[] {
  const texts = [definition, ...through, ...basis.policies.map(({ condition }) => condition)];
  return texts.map((text) => text.replace(QUOTED, "''"));
}
