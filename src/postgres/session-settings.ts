/** The settings of Snö's sessions. docs/operations.md lists them all. */

export type SessionSettings = Readonly<Record<string, string>>;

/** For every session, including sessions that run the operator's own SQL. */
const COMMON: SessionSettings = {
  // Snö writes: its tables, markers, the publication.
  default_transaction_read_only: 'off',
  // A session may wait for hours without a query.
  idle_session_timeout: '0',
  // Compiling a catalog query takes longer than running it.
  jit: 'off',
  // pg sends and reads no other encoding.
  client_encoding: 'UTF8',
};

/** As in psql: the operator's SQL is read and run with the role's settings. */
export const PLAIN: SessionSettings = COMMON;

/** Values print in one form, and SQL has one meaning. */
export const PINNED: SessionSettings = {
  ...COMMON,
  // How values print, and how texts become values.
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
  // durable on this server, without waiting for a standby that is slow to confirm
  synchronous_commit: 'local',
  client_min_messages: 'warning',
};

/**
 * Timeouts of Snö's own sessions, unless the URL sets others. Timeouts of the role or the database
 * are meant for the app, and Snö limits each query itself. They are placed before the URL's
 * options.
 */
const DEFAULTS: SessionSettings = { statement_timeout: '0', lock_timeout: '0' };
/**
 * More timeouts, set once the session is open. Not every version has them, and `sno doctor` reports
 * the role's own values.
 */
export const TIMEOUTS: SessionSettings = {
  transaction_timeout: '0',
  // Ends the transaction of a process that was stopped in the middle.
  idle_in_transaction_session_timeout: '300000',
};

/** Returns the startup packet's `options`. The last value wins. */
export function optionsOf(given: string | undefined, settings: SessionSettings): string {
  return [settings === PLAIN ? '' : optionText(DEFAULTS), given ?? '', optionText(settings)].join(' ').trim();
}

/** Escapes spaces and backslashes within a value. */
function optionText(settings: SessionSettings): string {
  return Object.entries(settings)
    .map(([name, value]) => `-c ${name}=${value.replace(/[\\\s]/g, '\\$&')}`)
    .join(' ');
}
