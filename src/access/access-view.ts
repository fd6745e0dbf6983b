/**
 * Checks access by queries of access views, for many subscriptions at once. A client receives
 * `try_again` if too many checks wait, or if the database does not answer.
 */
import type pg from 'pg';
import { type AccessSchema, SCHEMA_NAMES } from '../channels/catalog/catalog.ts';
import type { ResolvedChannel, ServedAccess } from '../channels/served/served.ts';
import { isInput } from '../channels/values/value-text.ts';
import type { Settings } from '../config/settings.ts';
import { ERRORS, SnoError } from '../errors.ts';
import { nestsTooDeeply, SHOWN_DEPTH_MAX } from '../json.ts';
import type { Logger } from '../logger.ts';
import type { Metrics } from '../metrics/metrics.ts';
import { createParsingPool } from '../postgres/connect.ts';
import { arrayText } from '../postgres/quote.ts';
import type { Access, Claims, Member, Rights } from './access.ts';
import { canonicalSql, isCanonical } from './channel-value.ts';
import { claimTexts, findClaim, userOf } from './claims.ts';
import { queryFault } from './query-fault.ts';
import { type Answer, Questions } from './questions.ts';
import { broken, denied, undeclared, unknown } from './refusals.ts';
import { presenceRefusal, sendRefusal } from './right-refusals.ts';

/** How long to wait for the server beyond the statement's own timeout, in ms. */
const SILENCE_MS = 5_000;
/** Maximum bytes of a member's `info`, the row of the presence view. */
const INFO_BYTES_MAX = 16_384;
/** Maximum log lines that are remembered, so that each is logged once. */
const LOGGED_MAX = 10_000;

const NO: Promise<Answer> = Promise.resolve(undefined);

/** A token's claims as parameters of an access view's query. */
interface Wanted {
  /** One for each claim. */
  readonly parameters: readonly string[];
  /** Whether every claim is certainly a value of its column's type. */
  readonly isCertain: boolean;
}

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

export class ViewAccess implements Access, Rights {
  readonly #pool: pg.Pool;
  readonly #questions: Questions;
  readonly #open: boolean;
  readonly #logger: Logger;
  /** Messages that have already been logged. */
  readonly #logged = new Set<string>();
  #lastWanted:
    | { readonly access: ServedAccess; readonly claims: Claims; readonly wanted: Wanted | undefined }
    | undefined;

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
          { code: 'access_failing', checks: count, error: error.message, hint: ERRORS.access_failing.hint },
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

  check(channel: ResolvedChannel, claims: Claims, address?: string): Promise<SnoError | undefined> {
    const { access, values, valueTypes } = channel;
    if (this.#open || access === undefined || isCanonical(values, valueTypes) !== true)
      return this.#checkValues(channel, claims, address);
    return this.#ask(access, values, claims, address).then(
      (answer) => (answer === undefined ? this.#denied(channel, claims) : undefined),
      (error: unknown) => this.#failed(channel, error),
    );
  }

  #failed(channel: ResolvedChannel, error: unknown): SnoError {
    if (queryFault(error) === 'view') return this.#broken(channel, error as pg.DatabaseError);
    return this.#unanswered(channel, error);
  }

  /** Postgres may have to say whether the channel's values are valid. */
  async #checkValues(channel: ResolvedChannel, claims: Claims, address?: string): Promise<SnoError | undefined> {
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
      if (this.#open || (access !== undefined && (await this.#ask(access, values, claims, address)) !== undefined))
        return undefined;
      isValue ??= await this.#isValue(channel, address);
      return isValue ? this.#denied(channel, claims) : unknown(channel);
    } catch (error) {
      return this.#failed(channel, error);
    }
  }

  async checkSend(channel: ResolvedChannel, claims: Claims, address?: string): Promise<SnoError | undefined> {
    const { send, values } = channel;
    if (this.#open) return undefined;
    if (send === undefined) return sendRefusal('send_undeclared', channel);
    try {
      const answer = await this.#ask(send, values, claims, address);
      return answer === undefined ? sendRefusal('send_denied', channel) : undefined;
    } catch (error) {
      if (queryFault(error) !== 'view') return this.#unanswered(channel, error);
      this.#logBroken('channel_send', channel, error as pg.DatabaseError);
      return sendRefusal('send_denied', channel);
    }
  }

  checkWatch(channel: ResolvedChannel): SnoError | undefined {
    const isDeclared = this.#open || channel.presence !== undefined;
    return isDeclared ? undefined : presenceRefusal('presence_undeclared', channel);
  }

  async findMember(channel: ResolvedChannel, claims: Claims, address?: string): Promise<Member | SnoError> {
    const { presence, values } = channel;
    const user = userOf(claims);
    if (presence === undefined)
      return this.#open && user !== undefined
        ? { id: user, info: '{}' }
        : presenceRefusal(this.#open ? 'presence_denied' : 'presence_undeclared', channel);
    if (user === undefined) return presenceRefusal('presence_denied', channel, 'the token names no user (sub)');
    try {
      const answer = await this.#ask(presence, values, claims, address);
      if (answer === undefined) return presenceRefusal('presence_denied', channel);
      const [id, info] = answer as readonly [string, string];
      const isLarge = Buffer.byteLength(info) > INFO_BYTES_MAX;
      if (!isLarge && !nestsTooDeeply(Buffer.from(info))) return { id, info };
      this.#logLargeMember(channel);
      const fault = isLarge
        ? `has more than ${INFO_BYTES_MAX} bytes`
        : `nests more than ${SHOWN_DEPTH_MAX} levels deep`;
      return presenceRefusal('presence_denied', channel, `what is shown of it ${fault}`);
    } catch (error) {
      if (queryFault(error) !== 'view') return this.#unanswered(channel, error);
      this.#logBroken('channel_presence', channel, error as pg.DatabaseError);
      return presenceRefusal('presence_denied', channel);
    }
  }

  close(): Promise<void> {
    this.#questions.close();
    return this.#pool.end();
  }

  /**
   * Returns the refusal. If the token's claims can match no row of the view, the operator must act:
   * this is logged once per pattern.
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

  /** Logs the missing access view. The client does not learn its name. */
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
   * Returns the refusal if the view fails because of its definition or its rights. The log says
   * why.
   */
  #broken(channel: ResolvedChannel, error: pg.DatabaseError): SnoError {
    this.#logBroken('channel_access', channel, error);
    return broken(channel, error);
  }

  #logBroken(schema: AccessSchema, { name, pattern }: ResolvedChannel, error: pg.DatabaseError): void {
    const view = `${schema}."${pattern.text}"`;
    this.#once(JSON.stringify([view, error.code]), () =>
      this.#logger.error(
        {
          view,
          sqlstate: error.code,
          channel: name,
          hint: 'Correct the view: an expression in it fails for these values.',
        },
        `the ${SCHEMA_NAMES[schema]} view raises an error, so Snö refuses the clients concerned: ${error.message}`,
      ),
    );
  }

  #logLargeMember({ name, pattern }: ResolvedChannel): void {
    const view = `channel_presence."${pattern.text}"`;
    this.#once(`large member of ${view}`, () =>
      this.#logger.error(
        { view, channel: name, bytesMax: INFO_BYTES_MAX, depthMax: SHOWN_DEPTH_MAX, hint: 'Show less of a member.' },
        'a row of the presence view is too large or nests too deeply, so Snö refuses the member',
      ),
    );
  }

  #unanswered({ name }: ResolvedChannel, error: unknown): SnoError {
    this.#logger.debug({ channel: name, error: (error as Error).message }, 'a client received try_again');
    return new SnoError('try_again', 'the database did not answer the access check', { cause: error });
  }

  /** Asks Postgres whether the channel's values are valid values of their columns. */
  async #isValue({ values, valueTypes }: ResolvedChannel, address?: string): Promise<boolean> {
    return (await this.#questions.ask(canonicalSql(valueTypes), values, false, address)) !== undefined;
  }

  #ask(access: ServedAccess, values: readonly string[], claims: Claims, address?: string): Promise<Answer> {
    const areValues = isCanonical(values, access.valueTypes);
    const asked = areValues === false ? undefined : this.#wantedOf(access, claims);
    if (asked === undefined) return NO;
    const isCertain = areValues === true && asked.isCertain;
    return this.#questions.ask(access.sql, [...values, ...asked.parameters], isCertain, address);
  }

  /**
   * Returns the claims as parameters of the view. Undefined: they match no row. A client that opens
   * a page asks for many channels of one view, so the last result is kept.
   */
  #wantedOf(access: ServedAccess, claims: Claims): Wanted | undefined {
    const last = this.#lastWanted;
    if (last?.access === access && last.claims === claims) return last.wanted;
    const wanted = wantedOf(access, claims);
    this.#lastWanted = { access, claims, wanted };
    return wanted;
  }
}

function wantedOf(access: ServedAccess, claims: Claims): Wanted | undefined {
  let isCertain = true;
  const parameters: string[] = [];
  for (const { name, input } of access.claims) {
    const texts = claimTexts(findClaim(claims, name)).filter((text) => isInput(input, text) !== false);
    if (texts.length === 0) return undefined;
    isCertain &&= texts.every((text) => isInput(input, text) === true);
    parameters.push(arrayText(texts));
  }
  return { parameters, isCertain };
}

function sameTypes({ valueTypes }: ServedAccess, types: readonly string[]): boolean {
  return valueTypes.every((type, index) => type === types[index]);
}
