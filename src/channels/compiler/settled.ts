/**
 * The stable functions of Postgres that depend only on their arguments and on settings that Snö
 * sets in each session (postgres/session.ts), such as the locale for numbers, money and dates. The
 * keys are function names, the values the typnames of their arguments.
 *
 * Excluded are functions that use the current time (`age(timestamptz)`, `timezone(text, timetz)`),
 * or settings of their own (`to_tsvector(text)`). Excluded too are functions that read the catalogs
 * (`enum_last(anyenum)`), or make values from text, which may contain `now`
 * (`json_populate_record`).
 *
 * test/channels/changeability.pg.test.ts compares the list with pg_proc of each version.
 */
const SETTLED: Readonly<Record<string, readonly string[]>> = {
  // the text and the JSON of values
  format: ['text', 'text,any'],
  concat: ['any'],
  concat_ws: ['text,any'],
  textanycat: ['text,anynonarray'],
  anytextcat: ['anynonarray,text'],
  array_to_string: ['anyarray,text', 'anyarray,text,text'],
  quote_literal: ['anyelement'],
  quote_nullable: ['anyelement'],
  to_json: ['anyelement'],
  to_jsonb: ['anyelement'],
  array_to_json: ['anyarray', 'anyarray,bool'],
  row_to_json: ['record', 'record,bool'],
  json_build_object: ['', 'any'],
  json_build_array: ['', 'any'],
  jsonb_build_object: ['', 'any'],
  jsonb_build_array: ['', 'any'],
  // depend on a format argument
  to_char: ['int4', 'int8', 'float4', 'float8', 'numeric', 'interval', 'timestamp', 'timestamptz'].map(
    (type) => `${type},text`,
  ),
  to_number: ['text,text'],
  to_date: ['text,text'],
  to_timestamp: ['text,text'],
  // depend on lc_monetary
  money: ['int4', 'int8', 'numeric'],
  numeric: ['money'],
  // depend on xmloption
  xml: ['text'],
  xml_is_well_formed: ['text'],
  // use the conversions that come with Postgres
  convert: ['bytea,name,name'],
  convert_from: ['bytea,name'],
  convert_to: ['text,name'],
  length: ['bytea,name'],
  // depend on TimeZone
  date: ['timestamptz'],
  time: ['timestamptz'],
  timestamp: ['timestamptz'],
  timestamptz: ['date', 'timestamp', 'date,time'],
  timetz: ['timestamptz', 'time'],
  timezone: ['timestamp', 'timestamptz', 'timetz'],
  date_trunc: ['text,timestamptz', 'text,timestamptz,text'],
  date_part: ['text,timestamptz'],
  extract: ['text,timestamptz'],
  date_add: ['timestamptz,interval'],
  date_subtract: ['timestamptz,interval'],
  make_timestamptz: ['int4,int4,int4,int4,int4,float8', 'int4,int4,int4,int4,int4,float8,text'],
  timestamptz_pl_interval: ['timestamptz,interval'],
  timestamptz_mi_interval: ['timestamptz,interval'],
  interval_pl_timestamptz: ['interval,timestamptz'],
  overlaps: [
    'timestamptz,interval,timestamptz,interval',
    'timestamptz,interval,timestamptz,timestamptz',
    'timestamptz,timestamptz,timestamptz,interval',
  ],
  jsonb_path_exists_tz: ['jsonb,jsonpath,jsonb,bool'],
  jsonb_path_match_tz: ['jsonb,jsonpath,jsonb,bool'],
  jsonb_path_query_array_tz: ['jsonb,jsonpath,jsonb,bool'],
  jsonb_path_query_first_tz: ['jsonb,jsonpath,jsonb,bool'],
  ...comparisons('date', 'timestamptz'),
  ...comparisons('timestamptz', 'date'),
  ...comparisons('timestamp', 'timestamptz'),
  ...comparisons('timestamptz', 'timestamp'),
};

function comparisons(left: string, right: string): Record<string, readonly string[]> {
  const names = ['eq', 'ne', 'lt', 'le', 'gt', 'ge', 'cmp'].map((how) => `${left}_${how}_${right}`);
  return Object.fromEntries(names.map((name) => [name, [`${left},${right}`]]));
}

/** The functions, as `name(type,type)`. */
export const SETTLED_FUNCTIONS: ReadonlySet<string> = new Set(
  Object.entries(SETTLED).flatMap(([name, lists]) => lists.map((list) => `${name}(${list})`)),
);
