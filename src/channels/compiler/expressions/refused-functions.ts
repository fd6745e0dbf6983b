/** The reasons and hints for function calls that a channel view may not contain. */
import { INSTEAD } from '../../sql/instead.ts';
import { reasonLeft } from './left-to-postgres.ts';

const AGGREGATES = words(
  'any_value array_agg avg bit_and bit_or bit_xor bool_and bool_or corr count covar_pop covar_samp cume_dist dense_rank ' +
    'every first_value json_agg json_object_agg jsonb_agg jsonb_object_agg lag last_value lead max min mode nth_value ntile ' +
    'percent_rank percentile_cont percentile_disc range_agg range_intersect_agg rank row_number stddev stddev_pop ' +
    'stddev_samp string_agg sum var_pop var_samp variance xmlagg',
);
/** Functions whose result may change without a change of any row of the table. */
const CHANGING = words(
  'clock_timestamp current_database current_query current_schema current_schemas current_setting currval ' +
    'gen_random_uuid inet_client_addr lastval nextval now pg_backend_pid pg_current_snapshot pg_current_wal_lsn ' +
    'pg_current_xact_id random random_normal session_user set_config setval statement_timestamp timeofday ' +
    'transaction_timestamp txid_current uuidv4 uuidv7 version',
);
const OF_SETTINGS = words('current_setting set_config version');
const OF_SESSION = words(
  'current_database current_query current_schema current_schemas inet_client_addr pg_backend_pid session_user',
);
const DRAWN = words(
  'currval gen_random_uuid lastval nextval pg_current_snapshot pg_current_wal_lsn pg_current_xact_id random random_normal setval ' +
    'txid_current uuidv4 uuidv7',
);
const SET_RETURNING = words(
  'generate_series generate_subscripts json_array_elements json_array_elements_text json_each json_each_text ' +
    'json_object_keys jsonb_array_elements jsonb_array_elements_text jsonb_each jsonb_each_text jsonb_object_keys ' +
    'jsonb_path_query regexp_matches regexp_split_to_table string_to_table unnest',
);

function words(text: string): ReadonlySet<string> {
  return new Set(text.split(' '));
}

/** The reason, without the place. */
export function functionRefusal(name: string, isWindow: boolean): string {
  if (isWindow) return 'window functions are not supported: a channel follows single rows';
  if (AGGREGATES.has(name)) return `aggregates such as ${name}() are not supported: a channel follows single rows`;
  if (CHANGING.has(name)) return changes(`${name}()`);
  if (SET_RETURNING.has(name)) return `${name}() returns sets: a channel has one row for each row of the table`;
  const reason = reasonLeft(name);
  return reason === undefined
    ? `the function ${name}() is not supported yet`
    : `${name}() is not supported yet: ${reason}`;
}

/** The hint: what to write instead of the call, if known. */
export function functionInstead(name: string, isWindow: boolean): string | undefined {
  if (isWindow) return INSTEAD.rank;
  if (AGGREGATES.has(name)) return INSTEAD.total;
  if (SET_RETURNING.has(name)) return INSTEAD.sets;
  if (OF_SETTINGS.has(name)) return INSTEAD.setting;
  if (OF_SESSION.has(name)) return INSTEAD.session;
  if (DRAWN.has(name)) return INSTEAD.random;
  return CHANGING.has(name) ? INSTEAD.time : undefined;
}

/** The reason why a view with `what` cannot be kept live. */
export function changes(what: string): string {
  return `${what} changes without a commit to the table: no view that uses it can be kept live from the WAL`;
}
