/** The settings that Snö's sessions have. docs/operations.md lists them all. */

export type SessionSettings = Readonly<Record<string, string>>;

/** For every session, also one that runs the operator's own SQL. */
const COMMON: SessionSettings = {
  // Snö writes: its tables, markers, the publication
  default_transaction_read_only: 'off',
  // a session waits for hours without a query
  idle_session_timeout: '0',
  // compiling a catalog query takes longer than running it
  jit: 'off',
  // pg sends and reads nothing else
  client_encoding: 'UTF8',
};

/** As psql: SQL of the operator is read and run as the role's settings say. */
export const PLAIN: SessionSettings = COMMON;

/** Values print in one form, and SQL means one thing. */
export const PINNED: SessionSettings = {
  ...COMMON,
  // how values print, and how texts become values
  TimeZone: 'UTC',
  DateStyle: 'ISO, MDY',
  IntervalStyle: 'postgres',
  bytea_output: 'hex',
  extra_float_digits: '1',
  lc_monetary: 'C',
  lc_numeric: 'C',
  lc_time: 'C',
  xmloption: 'content',
  xmlbinary: 'base64',
  array_nulls: 'on',
  timezone_abbreviations: 'Default',
  // how SQL is read and printed
  search_path: 'pg_catalog',
  standard_conforming_strings: 'on',
  quote_all_identifiers: 'off',
  transform_null_equals: 'off',
  row_security: 'on',
  // how transactions run
  default_transaction_isolation: 'read committed',
  default_transaction_deferrable: 'off',
  // durable on this server; a standby that is slow to confirm holds nothing up
  synchronous_commit: 'local',
  client_min_messages: 'warning',
};

/**
 * Timeouts of Snö's own sessions, where the URL does not name others: those of the role or the database are meant for the
 * app, and Snö bounds each query itself. They stand before the URL's options.
 */
const DEFAULTS: SessionSettings = { statement_timeout: '0', lock_timeout: '0' };
/** The same, set once the session is open: not every version has them, and `sno doctor` tells what the role has. */
export const TIMEOUTS: SessionSettings = {
  transaction_timeout: '0',
  // ends the transaction of a process that was stopped in the middle
  idle_in_transaction_session_timeout: '300000',
};

/** The startup packet's `options`: what stands last wins. */
export function optionsOf(given: string | undefined, settings: SessionSettings): string {
  return [settings === PLAIN ? '' : optionText(DEFAULTS), given ?? '', optionText(settings)].join(' ').trim();
}

/** Spaces and backslashes within a value are escaped. */
function optionText(settings: SessionSettings): string {
  return Object.entries(settings)
    .map(([name, value]) => `-c ${name}=${value.replace(/[\\\s]/g, '\\$&')}`)
    .join(' ');
}
