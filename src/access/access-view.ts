/**
 * Queries access views, for many subscriptions at once. A client whose check finds no place or no
 * answer is told to retry.
 */
import type pg from 'pg';
import type { ResolvedChannel, ServedAccess } from '../channels/served/served.ts';
import { canonicalTest, isInput, testAll } from '../channels/values/value-text.ts';
import type { Settings } from '../config/settings.ts';
import { ERRORS, SnoError } from '../errors.ts';
import type { Logger } from '../logger.ts';
import type { Metrics } from '../metrics/metrics.ts';
import { createParsingPool } from '../postgres/connect.ts';
import type { Access, Claims } from './access.ts';
import { canonicalSql, isCanonical } from './channel-value.ts';
import { arrayText, claimTexts, findClaim } from './claims.ts';
import { queryFault } from './query-fault.ts';
import { Questions } from './questions.ts';
import { broken, denied, undeclared, unknown } from './refusals.ts';

/** How long after the statement's own timeout a silent server is given up, in ms. */
const SILENCE_MS = 5_000;
/** Maximum lines that are remembered as logged. */
const LOGGED_MAX = 10_000;

export type AccessSettings = Pick<
  Settings,
  'SNO_ACCESS' | 'SNO_ACCESS_QUERIES' | 'SNO_ACCESS_BATCH' | 'SNO_ACCESS_WAITING' | 'SNO_ACCESS_TIMEOUT_SECONDS'
>;

export interface AccessOptions {
  readonly databaseUrl: string;
  readonly settings: AccessSettings;
  readonly logger: Logger;
  readonly metrics: Pick<Metrics, 'accessChecks' | 'accessSeconds' | 'accessFailures' | 'limitsMet'>;
}

export class ViewAccess implements Access {
  readonly #pool: pg.Pool;
  readonly #questions: Questions;
  readonly #open: boolean;
  readonly #logger: Logger;
  /** Messages that have already been logged. */
  readonly #logged = new Set<string>();

  constructor({ databaseUrl, settings, logger, metrics }: AccessOptions) {
    const statementMs = settings.SNO_ACCESS_TIMEOUT_SECONDS * 1_000;
    const timeoutMs = statementMs + SILENCE_MS;
    this.#pool = createParsingPool(databaseUrl, 'access', settings.SNO_ACCESS_QUERIES, { statementMs, timeoutMs });
    this.#questions = new Questions({
      pool: this.#pool,
      concurrency: settings.SNO_ACCESS_QUERIES,
      batchMax: settings.SNO_ACCESS_BATCH,
      waitingMax: settings.SNO_ACCESS_WAITING,
      now: () => performance.now(),
      asked: (count, seconds, error) => {
        metrics.accessChecks.observe(count);
        metrics.accessSeconds.observe(seconds);
        if (error === undefined) return;
        metrics.accessFailures.inc();
        logger.warn(
          { checks: count, error: error.message, hint: ERRORS.database_unreachable.hint },
          'access could not be checked',
        );
      },
      refused: () => metrics.limitsMet.access_waiting.inc(),
    });
    this.#open = settings.SNO_ACCESS === 'open';
    this.#logger = logger;
    // A connection may break while no query runs on it. The next question uses another one.
    const broke = (error: Error) =>
      this.#logger.debug({ error: error.message }, 'a connection for access checks broke');
    this.#pool.on('error', broke);
    this.#pool.on('connect', (client) => client.on('error', broke));
  }

  /** Number of checks that wait for an answer. */
  get waiting(): number {
    return this.#questions.waiting;
  }

  async check(channel: ResolvedChannel, claims: Claims, address?: string): Promise<SnoError | undefined> {
    const { access, values, valueTypes } = channel;
    if (!this.#open && access === undefined) {
      const error = undeclared(channel);
      this.#logUndeclared(error);
      return error;
    }
    let isValue = isCanonical(values, valueTypes);
    if (isValue === false) return unknown(channel);
    try {
      // If the types are the same, the view's answer covers this check.
      if (this.#open || access === undefined || !sameTypes(access, valueTypes))
        isValue ??= await this.#isValue(channel, address);
      if (isValue === false) return unknown(channel);
      if (this.#open || (access !== undefined && (await this.#isGranted(access, values, claims, address))))
        return undefined;
      isValue ??= await this.#isValue(channel, address);
      return isValue ? this.#denied(channel, claims) : unknown(channel);
    } catch (error) {
      if (queryFault(error) === 'view') return this.#broken(channel, error as pg.DatabaseError);
      this.#logger.debug({ channel: channel.name, error: (error as Error).message }, 'a client received try_again');
      return new SnoError('try_again', 'the database did not answer the access check', { cause: error });
    }
  }

  close(): Promise<void> {
    this.#questions.close();
    return this.#pool.end();
  }

  /**
   * If a token can join no channel of the pattern, the operator must act: this is logged, once per
   * pattern.
   */
  #denied(channel: ResolvedChannel, claims: Claims): SnoError {
    const { access, pattern } = channel;
    const { lack, error } = denied(channel, access, claims);
    if (lack !== 'no row')
      this.#once(`${lack} ${pattern.text}`, () =>
        this.#logger.warn(
          { code: error.code, reason: lack, hint: error.hint },
          `a client may not join a channel: ${error.detail}`,
        ),
      );
    return error;
  }

  /** Logs the missing access view. The client is not told. */
  #logUndeclared({ code, detail, hint }: SnoError): void {
    this.#once(hint, () =>
      this.#logger.warn({ code, hint }, `a client asked for a channel that no client may join: ${detail}`),
    );
  }

  #once(what: string, log: () => void): void {
    if (this.#logged.has(what)) return;
    if (this.#logged.size >= LOGGED_MAX) this.#logged.clear();
    this.#logged.add(what);
    log();
  }

  /**
   * The view fails because of its definition or its rights: no client may join, and the log says
   * why.
   */
  #broken(channel: ResolvedChannel, error: pg.DatabaseError): SnoError {
    const { text } = channel.pattern;
    this.#once(JSON.stringify([text, error.code]), () =>
      this.#logger.error(
        {
          view: `channel_access."${text}"`,
          sqlstate: error.code,
          channel: channel.name,
          hint: 'Correct the view: an expression in it fails for these values.',
        },
        `the access view raises an error, so Snö refuses the clients concerned: ${error.message}`,
      ),
    );
    return broken(channel, error);
  }

  /** Asks Postgres whether the channel's values are valid values of their columns. */
  #isValue({ values, valueTypes }: ResolvedChannel, address?: string): Promise<boolean> {
    return this.#questions.ask(canonicalSql(valueTypes), values, false, address);
  }

  async #isGranted(
    access: ServedAccess,
    values: readonly string[],
    claims: Claims,
    address?: string,
  ): Promise<boolean> {
    const areValues = testAll(access.valueTypes.map(canonicalTest), values);
    if (areValues === false) return false;
    let certain = areValues === true;
    const wanted: string[] = [];
    for (const { name, input } of access.claims) {
      const texts = claimTexts(findClaim(claims, name)).filter((text) => isInput(input, text) !== false);
      if (texts.length === 0) return false;
      certain &&= texts.every((text) => isInput(input, text) === true);
      wanted.push(arrayText(texts));
    }
    return this.#questions.ask(access.sql, [...values, ...wanted], certain, address);
  }
}

function sameTypes({ valueTypes }: ServedAccess, types: readonly string[]): boolean {
  return valueTypes.every((type, index) => type === types[index]);
}
