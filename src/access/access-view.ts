/**
 * Asks access views. Each subscription is one indexed query by a prepared statement with bound parameters; a few run
 * at a time, a bounded number wait, and whoever finds no place or no answer is told to try again.
 */
import { createHash } from 'node:crypto';
import pg from 'pg';
import type { ResolvedChannel } from '../channels/channel.ts';
import type { Settings } from '../config.ts';
import { SnoError } from '../errors.ts';
import type { Logger } from '../logger.ts';
import { connectionConfig } from '../postgres/connect.ts';
import type { Access, Claims } from './access.ts';
import { canonicalSql, surelyCanonical } from './channel-value.ts';
import { claimTexts } from './claims.ts';

const STATEMENT_TIMEOUT_MS = 5_000;
/** For a server that does not answer at all; past the statement's own timeout. */
const QUERY_TIMEOUT_MS = 10_000;

export interface AccessOptions {
  readonly databaseUrl: string;
  /** `open` allows every channel that exists. */
  readonly mode: Settings['SNO_ACCESS'];
  readonly logger: Logger;
  /** Questions asked of the database at the same time. */
  readonly concurrency?: number;
  /** Questions that may wait for their turn. */
  readonly waitingMax?: number;
}

export class ViewAccess implements Access {
  readonly #pool: pg.Pool;
  readonly #open: boolean;
  readonly #logger: Logger;
  readonly #waitingMax: number;

  constructor(options: AccessOptions) {
    this.#pool = new pg.Pool({
      ...connectionConfig(options.databaseUrl, 'access'),
      max: options.concurrency ?? 4,
      idleTimeoutMillis: 30_000,
      statement_timeout: STATEMENT_TIMEOUT_MS,
      query_timeout: QUERY_TIMEOUT_MS,
    });
    this.#open = options.mode === 'open';
    this.#logger = options.logger;
    this.#waitingMax = options.waitingMax ?? 10_000;
    // A connection may break while nobody waits for an answer on it; the next question gets another one.
    const broke = (error: Error) =>
      this.#logger.debug({ error: error.message }, 'a connection for access checks broke');
    this.#pool.on('error', broke);
    this.#pool.on('connect', (client) => client.on('error', broke));
  }

  async check(channel: ResolvedChannel, claims: Claims): Promise<SnoError | undefined> {
    if (!this.#open && channel.access === undefined) return undeclared(channel);
    try {
      if (!(await this.#exists(channel))) return unknown(channel);
      return this.#open || (await this.#granted(channel, claims)) ? undefined : denied(channel);
    } catch (error) {
      this.#logger.warn(
        { channel: channel.name, error: (error as Error).message },
        'an access check could not be made',
      );
      return new SnoError('try_again', 'the database could not be asked who may join', { cause: error });
    }
  }

  close(): Promise<void> {
    return this.#pool.end();
  }

  /** Whether the channel's values are values of their columns. */
  async #exists({ values, valueTypes }: ResolvedChannel): Promise<boolean> {
    return surelyCanonical(values, valueTypes) || (await this.#ask(canonicalSql(valueTypes), values));
  }

  async #granted({ access, values }: ResolvedChannel, claims: Claims): Promise<boolean> {
    if (access === undefined) return false;
    const wanted = access.claims.map((name) => (Object.hasOwn(claims, name) ? claimTexts(claims[name]) : []));
    return wanted.every((texts) => texts.length > 0) && (await this.#ask(access.sql, [...values, ...wanted]));
  }

  /** Whether the statement's first row begins with true; a parameter that does not cast is a no. Rejects where there was no answer. */
  async #ask(text: string, values: readonly (string | readonly string[])[]): Promise<boolean> {
    if (this.#pool.waitingCount >= this.#waitingMax) throw new Error(`${this.#waitingMax} access checks wait already`);
    const client = await this.#pool.connect();
    let broken: Error | undefined;
    try {
      const result = await client.query<[unknown]>({
        name: statementName(text),
        text,
        values: [...values],
        rowMode: 'array',
      });
      return result.rows[0]?.[0] === true;
    } catch (error) {
      if (isDataException(error)) return false;
      if (!isStatementError(error)) broken = error as Error;
      throw error;
    } finally {
      client.release(broken);
    }
  }
}

/** Equal for equal statements, so that each connection prepares a statement once. */
function statementName(sql: string): string {
  let name = NAMES.get(sql);
  if (name === undefined) {
    if (NAMES.size >= NAMES_MAX) NAMES.clear();
    name = `sno_${createHash('sha256').update(sql).digest('hex').slice(0, 32)}`;
    NAMES.set(sql, name);
  }
  return name;
}
const NAMES = new Map<string, string>();
const NAMES_MAX = 10_000;

/**
 * Class 22: a value that does not cast to its column's type, is out of its range, or holds bytes that text cannot. Class 23: it
 * is against a constraint of a domain.
 */
function isDataException(error: unknown): boolean {
  return error instanceof pg.DatabaseError && /^2[23]/.test(error.code ?? '');
}

/** Errors that Postgres reported of a statement leave the connection usable; those of severity FATAL end it, as does silence. */
function isStatementError(error: unknown): boolean {
  return error instanceof pg.DatabaseError && error.severity === 'ERROR';
}

function unknown(channel: ResolvedChannel): SnoError {
  return new SnoError(
    'channel_unknown',
    `there is no channel ${channel.name}: its value is none of ${channel.pattern.text}`,
  );
}

function denied(channel: ResolvedChannel): SnoError {
  return new SnoError(
    'access_denied',
    `channel_access."${channel.pattern.text}" has no row for ${channel.name} and this token`,
  );
}

function undeclared(channel: ResolvedChannel): SnoError {
  const columns = [...channel.pattern.columns, 'user_id as sub'].join(', ');
  return new SnoError('access_undeclared', `nobody may join ${channel.name}: it has no access view`, {
    mend: `Create the view that says who may: create view channel_access."${channel.pattern.text}" as select ${columns} from ...`,
  });
}
