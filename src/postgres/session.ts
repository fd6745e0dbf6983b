/**
 * A connection whose session settings are known. Snö gives them in the startup packet, behind the options of the URL, so
 * that they hold whatever the URL, the role, the database and the server say, and RESET ALL goes back to them. Once the
 * session is open Snö asks for them: a pooler may have dropped the options. docs/operations.md lists all settings.
 */
import pg from 'pg';
import { SnoError } from '../errors.ts';
import { limitError } from './connection-limit.ts';

export type SessionSettings = Readonly<Record<string, string>>;

/** For every session, also one that runs the operator's own SQL. */
const COMMON: SessionSettings = {
  // Snö writes: its tables, markers, the publication
  default_transaction_read_only: 'off',
  // a session waits for hours without a query
  idle_session_timeout: '0',
  // compiling a catalog query takes longer than running it
  jit: 'off',
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
  client_encoding: 'UTF8',
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
const TIMEOUTS: SessionSettings = {
  transaction_timeout: '0',
  // ends the transaction of a process that was stopped in the middle
  idle_in_transaction_session_timeout: '300000',
};
const SENDER_TIMEOUT = 'wal_sender_timeout';
/** A walsender with a shorter timeout ends the connection before the next sign of life can reach it. */
const SENDER_TIMEOUT_MS_MIN = 2_000;
/** How long Postgres may take to tell the settings of a new session. */
const SETTLE_TIMEOUT_MS = 10_000;

/** The startup packet's `options`: what stands last wins. */
function optionsOf(given: string | undefined, settings: SessionSettings): string {
  return [settings === PLAIN ? '' : optionText(DEFAULTS), given ?? '', optionText(settings)].join(' ').trim();
}

/** Spaces and backslashes within a value are escaped. */
function optionText(settings: SessionSettings): string {
  return Object.entries(settings)
    .map(([name, value]) => `-c ${name}=${value.replace(/[\\\s]/g, '\\$&')}`)
    .join(' ');
}

export interface SessionConfig extends pg.ClientConfig {
  /** PLAIN or PINNED. */
  readonly settings: SessionSettings;
  /** The connection speaks the replication protocol as well. */
  readonly replication?: 'database';
}

/** What pg's Client knows beyond its types. */
interface Internals {
  readonly connectionParameters: { options?: string | undefined; replication?: string | undefined };
  readonly database: string | undefined;
  processID: number | null;
  replication: string | undefined;
}

type ConnectCallback = (error?: Error) => void;

export class Session extends pg.Client {
  readonly #settings: SessionSettings;
  readonly #isReplication: boolean;

  constructor(config: SessionConfig) {
    super(config);
    this.#settings = config.settings;
    this.#isReplication = config.replication !== undefined;
    const internals = this as unknown as Internals;
    const parameters = internals.connectionParameters;
    // what the URL says would win otherwise
    parameters.options = optionsOf(parameters.options, config.settings);
    parameters.replication = config.replication;
    internals.replication = config.replication;
    // a connection that breaks fails its query, or the next one; without a listener it would end the process as well
    this.on('error', () => {});
  }

  override connect(): Promise<this>;
  override connect(callback: ConnectCallback): void;
  override connect(callback?: ConnectCallback): Promise<this> | undefined {
    const opened = this.#open();
    if (callback === undefined) return opened;
    opened.then(
      () => callback(),
      (error: Error) => callback(error),
    );
    return undefined;
  }

  async #open(): Promise<this> {
    try {
      await super.connect();
    } catch (error) {
      throw limitError(error, this.user ?? '', (this as unknown as Internals).database ?? '', this.#isReplication);
    }
    try {
      await this.#verify();
      if (this.#settings !== PLAIN) await this.#setTimeouts();
    } catch (error) {
      this.end().catch(() => undefined);
      throw error;
    }
    return this;
  }

  /** Throws `session_settings` where the session is another than was asked for. */
  async #verify(): Promise<void> {
    const names = Object.keys(this.#settings);
    const columns = names.map((name, index) => `pg_catalog.current_setting('${name}')::pg_catalog.text as s${index}`);
    const row = await this.#ask(`select ${columns.join(', ')}, pg_catalog.pg_backend_pid()::pg_catalog.text as pid`);
    const others = names.flatMap((name, index) => {
      const value = row[`s${index}`];
      return value === this.#settings[name] ? [] : [`${name} is ${value}, not ${this.#settings[name]}`];
    });
    const internals = this as unknown as Internals;
    const pid = Number(row['pid']);
    if (others.length > 0) {
      const between = internals.processID === pid ? '' : '; a pooler stands between Snö and Postgres';
      const message = `the session lacks settings that Snö asked for: ${others.join('; ')}${between}`;
      throw new SnoError('session_settings', message);
    }
    // a pooler makes a process id up, which may be that of another backend here
    internals.processID = pid;
  }

  async #setTimeouts(): Promise<void> {
    const { rows } = await this.query<TimeoutRow>(
      quick(
        'select s.name, s.setting, s.source from pg_catalog.pg_settings s ' +
          `where s.name operator(pg_catalog.=) any ('{${[...Object.keys(TIMEOUTS), SENDER_TIMEOUT].join()}}'::pg_catalog.text[])`,
      ),
    );
    const calls = rows.flatMap(({ name, setting, source }) => {
      const value = name === SENDER_TIMEOUT ? this.#senderTimeout(Number(setting)) : TIMEOUTS[name];
      // `client`: the URL says it
      return source === 'client' || value === undefined || value === setting
        ? []
        : [`pg_catalog.set_config('${name}', '${value}', false)`];
    });
    if (calls.length > 0) await this.#ask(`select ${calls.join(', ')}`);
  }

  #senderTimeout(ms: number): string | undefined {
    return this.#isReplication && ms > 0 && ms < SENDER_TIMEOUT_MS_MIN ? String(SENDER_TIMEOUT_MS_MIN) : undefined;
  }

  async #ask(text: string): Promise<Readonly<Record<string, string>>> {
    const { rows } = await this.query<Record<string, string>>(quick(text));
    return rows[0] ?? {};
  }
}

function quick(text: string): pg.QueryConfig {
  return { text, query_timeout: SETTLE_TIMEOUT_MS } as pg.QueryConfig;
}

interface TimeoutRow {
  readonly name: string;
  readonly setting: string;
  readonly source: string;
}
