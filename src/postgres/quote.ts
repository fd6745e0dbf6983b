/** Identifiers and literals in SQL that Snö writes. */

const PLAIN = /^[a-z_][a-z0-9_]*$/;
/** The characters that a quoted element of an array escapes. */
const SPECIAL = /["\\]/;
const SPECIALS = /["\\]/g;

/** Always quoted: safe for any name, including keywords. */
export function quoteIdentifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** A string constant, valid with any `standard_conforming_strings`. */
export function quoteLiteral(text: string): string {
  const quoted = `'${text.replaceAll("'", "''")}'`;
  return text.includes('\\') ? ` E${quoted.replaceAll('\\', '\\\\')}` : quoted;
}

/** The text of a Postgres array of these texts. pg's own is slower, and leaves more garbage. */
export function arrayText(texts: readonly string[]): string {
  return texts.length === 0 ? '{}' : `{"${texts.map(escaped).join('","')}"}`;
}

const escaped = (text: string): string => (SPECIAL.test(text) ? text.replace(SPECIALS, '\\$&') : text);

/** For SQL that people read: quoted only if needed. Two names become `schema.name`. */
export function readableName(...names: readonly string[]): string {
  return names.map((name) => (PLAIN.test(name) && !RESERVED.has(name) ? name : quoteIdentifier(name))).join('.');
}

/** Keywords that Postgres rejects as unquoted names of tables or columns. */
const RESERVED: ReadonlySet<string> = new Set(
  (
    'all analyse analyze and any array as asc asymmetric authorization between bigint binary bit boolean both case cast ' +
    'char character check coalesce collate collation column concurrently constraint create cross current_catalog ' +
    'current_date current_role current_schema current_time current_timestamp current_user dec decimal default ' +
    'deferrable desc distinct do else end except exists extract false fetch float for foreign freeze from full grant ' +
    'greatest group grouping having ilike in initially inner inout int integer intersect interval into is isnull join ' +
    'json_array json_arrayagg json_exists json_object json_objectagg json_query json_scalar json_serialize json_table ' +
    'json_value lateral leading least left like limit localtime localtimestamp merge_action national natural nchar none ' +
    'normalize not notnull null nullif numeric offset on only or order out outer overlaps overlay placing position ' +
    'precision primary real references returning right row select session_user setof similar smallint some substring ' +
    'symmetric system_user table tablesample then time timestamp to trailing treat trim true union unique user using ' +
    'values varchar variadic verbose when where window with xmlattributes xmlconcat xmlelement xmlexists xmlforest ' +
    'xmlnamespaces xmlparse xmlpi xmlroot xmlserialize xmltable'
  ).split(' '),
);
