/**
 * Functions and operators that Snö deliberately leaves to Postgres: another implementation might
 * give other results.
 */

export interface Left {
  /** Functions, and operators by their signs. */
  readonly names: readonly string[];
  /** For the documentation, if it says more than the names. */
  readonly what?: string;
  readonly why: string;
}

export const LEFT_TO_POSTGRES: readonly Left[] = [
  {
    names: words('initcap casefold normalize'),
    what: '`lower`, `upper`, `ILIKE` with another collation than `COLLATE "C"`; `initcap`, `casefold`, `normalize`',
    why: 'the collation decides about letters and their cases',
  },
  {
    names: [],
    what: '`< <= > >=`, `GREATEST`, `LEAST`, `BETWEEN` over texts with another collation than C; any comparison with a nondeterministic collation',
    why: 'the collation decides the order of texts, and which texts are equal',
  },
  {
    names: words(
      '~ ~* !~ !~* regexp_replace regexp_match regexp_matches regexp_like regexp_substr regexp_count regexp_instr regexp_split_to_array similar_to_escape',
    ),
    why: 'Postgres has its own dialect of regular expressions',
  },
  {
    names: words('to_char to_number to_date to_timestamp format'),
    why: 'templates have a language of their own',
  },
  {
    names: words('concat concat_ws quote_literal quote_nullable quote_ident array_to_string string_to_array'),
    why: 'it makes text from values of any type',
  },
  {
    names: words(
      'to_json to_jsonb row_to_json json_build_object json_build_array jsonb_build_object jsonb_build_array jsonb_set jsonb_insert ' +
        'jsonb_strip_nulls json_strip_nulls jsonb_pretty jsonb_path_exists jsonb_path_match jsonb_path_query_first jsonb_extract_path ' +
        'jsonb_extract_path_text json_extract_path json_extract_path_text jsonb_object json_object #- @? @@',
    ),
    what: 'functions that make json or jsonb, JSON paths, `jsonb || jsonb`, `jsonb - text`, casts of text to json and of jsonb to numbers',
    why: 'it builds new JSON, or versions of Postgres differ',
  },
  {
    names: words(
      'exp ln log log10 power pow ^ cbrt sin cos tan asin acos atan atan2 sinh cosh tanh degrees radians pi width_bucket scale min_scale trim_scale factorial gcd lcm',
    ),
    what: '`power`, `exp`, `ln`, trigonometry, and `sqrt` of numeric',
    why: 'the last digits depend on how it is computed',
  },
  {
    names: words(
      'age make_interval justify_days justify_hours justify_interval date_bin make_date make_timestamp make_time overlaps',
    ),
    what: 'intervals, and dates and times plus or minus them; time zones other than UTC',
    why: 'calendars and time zones change',
  },
  {
    names: words('md5 sha224 sha256 sha384 sha512 encode decode convert_from convert_to get_byte set_byte'),
    why: 'digests and encodings are not worth a second implementation',
  },
  {
    names: words(
      'num_nulls num_nonnulls array_append array_prepend array_cat array_remove array_replace array_position array_positions array_upper array_lower array_ndims array_dims trim_array',
    ),
    what: '`ARRAY[...]` with elements that are not constants, slices, and functions that make arrays',
    why: 'it builds new arrays',
  },
  {
    names: [],
    what: '`IS NULL`, `IS UNKNOWN` and `IS DISTINCT FROM NULL` over tests, `AND`, `OR`, `NOT`, `CASE`, `COALESCE`, `GREATEST`, `LEAST`, `ARRAY[...]`, from Postgres 19 on',
    why: 'Postgres may decide them without evaluating what they test, and then raises none of its errors',
  },
  {
    names: [],
    what: 'user-defined functions, operators, casts and types; ranges, network, geometric and text search types; generated columns',
    why: 'only Postgres knows them',
  },
];

function words(text: string): readonly string[] {
  return text.split(' ');
}

const REASONS: ReadonlyMap<string, string> = new Map(
  LEFT_TO_POSTGRES.flatMap(({ names, why }) => names.map((name) => [name, why] as const)),
);

/** The reason to leave a function or operator to Postgres; undefined if it is not listed. */
export function reasonLeft(name: string): string | undefined {
  return REASONS.get(name);
}
