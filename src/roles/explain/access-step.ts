/**
 * The step of an explanation that queries the access view. Each of its columns is compared with a
 * value of the channel or with a claim. If no row fits all of them, more queries find the cause:
 * which column has no row by itself, up to which column rows fit, and whether one column alone is
 * the fault.
 */

import type { Claims } from '../../access/access.ts';
import { claimTexts, findClaim } from '../../access/claims.ts';
import type { AccessCondition, AccessFilter, AccessStep } from '../../admin/api/types.ts';
import type { AccessParts, ResolvedChannel, ServedAccess } from '../../channels/served/served.ts';
import { loadParser } from '../../channels/sql/parse.ts';
import { type PlainSelect, plainSelect } from '../../channels/sql/plain-select.ts';
import { isInput } from '../../channels/values/value-text.ts';
import { arrayText, quoteIdentifier } from '../../postgres/quote.ts';
import type { Found, Probe } from './probe.ts';

export interface AccessResult {
  readonly step: AccessStep;
  /** The view as a plain SELECT. Undefined: it is not plain. */
  readonly select: PlainSelect | undefined;
}

/** Maximum columns that are queried one by one. */
const COLUMNS_MAX = 8;
const FILTERS_MAX = 16;
const WANTED_MAX = 20;

/** A column and the value that it is compared with. */
interface Comparison {
  readonly column: string;
  readonly by: AccessCondition['by'];
  readonly type: string;
  readonly wanted: readonly string[];
  /** The parameter: the value, or the text of an array of the claim's values. */
  readonly bound: string;
  readonly lack: 'missing' | 'invalid' | undefined;
}

export async function explainAccess(
  probe: Probe,
  channel: ResolvedChannel,
  claims: Claims,
  isOpen: boolean,
): Promise<AccessResult> {
  const { access, pattern } = channel;
  const view = `channel_access.${quoteIdentifier(pattern.text)}`;
  const none = { view, definition: null, conditions: [], filters: null, message: null };
  if (isOpen) return { step: { ...none, state: 'open' }, select: undefined };
  if (access === undefined) return { step: { ...none, state: 'missing' }, select: undefined };
  const definition = (await probe.definitionOf(pattern.text)) ?? null;
  const comparisons = comparisonsOf(channel, access, claims);
  const { parts } = access;
  if (parts === undefined) {
    const message = 'the process that reads the WAL is of an earlier version, which does not say how to ask';
    return { step: { ...none, definition, state: 'failed', message }, select: undefined };
  }
  const question = new Question(probe, parts, comparisons);
  const all = await question.all();
  if (typeof all === 'object')
    return { step: { ...none, definition, state: 'failed', message: all.fault }, select: undefined };
  const conditions = all === true ? comparisons.map(fitting) : await question.conditions();
  await loadParser();
  const select = definition === null ? undefined : plainSelect(definition);
  const filters = all === true || select === undefined ? null : await question.filters(select);
  const state = all === true ? 'allowed' : all === false ? 'denied' : 'failed';
  const message = state === 'failed' ? 'the access view did not answer in time' : null;
  return { step: { view, state, message, definition, conditions, filters }, select };
}

function comparisonsOf(channel: ResolvedChannel, access: ServedAccess, claims: Claims): readonly Comparison[] {
  const values = channel.values.map(
    (value, index): Comparison => ({
      column: channel.pattern.columns[index] ?? '',
      by: 'channel',
      type: access.valueTypes[index] ?? 'text',
      wanted: [value],
      bound: value,
      lack: undefined,
    }),
  );
  const asked = access.claims.map(({ name, type, input }): Comparison => {
    const claim = findClaim(claims, name);
    const texts = claimTexts(claim);
    const valid = texts.filter((text) => isInput(input, text) !== false);
    const isMissing = claim === undefined || claim === null;
    return {
      column: name,
      by: 'claim',
      type,
      wanted: (valid.length > 0 ? valid : texts).slice(0, WANTED_MAX),
      bound: arrayText(valid),
      lack: isMissing ? 'missing' : valid.length === 0 ? 'invalid' : undefined,
    };
  });
  return [...values, ...asked];
}

function fitting({ column, by, type, wanted }: Comparison): AccessCondition {
  return {
    column,
    by,
    type,
    wanted,
    state: 'ok',
    hasRowAlone: true,
    hasRowSoFar: true,
    hasRowWithout: true,
    message: null,
  };
}

class Question {
  readonly #probe: Probe;
  readonly #parts: AccessParts;
  readonly #comparisons: readonly Comparison[];
  /** Answers, by the indexes of the columns in the query. */
  readonly #answers = new Map<string, Found>();
  /** Whether a query has timed out: then no further one is sent. */
  #isSlow = false;

  constructor(probe: Probe, parts: AccessParts, comparisons: readonly Comparison[]) {
    this.#probe = probe;
    this.#parts = parts;
    this.#comparisons = comparisons;
  }

  get #indexes(): readonly number[] {
    return this.#comparisons.map((_, index) => index);
  }

  get #values(): readonly string[] {
    return this.#comparisons.map(({ bound }) => bound);
  }

  /** Whether a row fits all columns. */
  all(): Promise<Found> {
    return this.#ask(this.#indexes);
  }

  /** Queries each column by itself. */
  async conditions(): Promise<readonly AccessCondition[]> {
    const conditions: AccessCondition[] = [];
    for (const [index, comparison] of this.#comparisons.slice(0, COLUMNS_MAX).entries())
      conditions.push(await this.#condition(index, comparison));
    return blamed(conditions);
  }

  /** Whether each condition of the view's WHERE holds for rows that fit all columns. */
  async filters({ head, conditions }: PlainSelect): Promise<readonly AccessFilter[] | null> {
    if (this.#comparisons.some(({ lack }) => lack !== undefined) || conditions.length === 0) return null;
    const fits = (where: string) => this.#send(this.#indexes, `${head}${where}`);
    // If no row fits the columns, the view's conditions are not the cause.
    if ((await fits('')) !== true) return null;
    const filters: AccessFilter[] = [];
    for (const text of conditions.slice(0, FILTERS_MAX))
      filters.push({ text, holds: known(await fits(` where ${text}`)) });
    return filters;
  }

  async #condition(index: number, comparison: Comparison): Promise<AccessCondition> {
    const { column, by, type, wanted, lack } = comparison;
    if (lack !== undefined)
      return {
        column,
        by,
        type,
        wanted,
        state: lack,
        hasRowAlone: null,
        hasRowSoFar: null,
        hasRowWithout: known(await this.#ask(this.#indexes.filter((each) => each !== index))),
        message: lack === 'missing' ? `the token has no claim ${column}` : `the claim ${column} is not of type ${type}`,
      };
    const isAlone = this.#comparisons.length === 1;
    return {
      column,
      by,
      type,
      wanted,
      state: 'ok',
      hasRowAlone: known(await this.#ask([index])),
      hasRowSoFar: known(await this.#ask(this.#indexes.slice(0, index + 1))),
      hasRowWithout: isAlone ? null : known(await this.#ask(this.#indexes.filter((each) => each !== index))),
      message: null,
    };
  }

  async #ask(indexes: readonly number[]): Promise<Found> {
    // A claim that is missing fits no row.
    if (indexes.some((index) => this.#comparisons[index]?.lack !== undefined)) return false;
    const key = indexes.join();
    if (!this.#answers.has(key)) this.#answers.set(key, await this.#send(indexes));
    return this.#answers.get(key);
  }

  async #send(indexes: readonly number[], relation?: string): Promise<Found> {
    if (this.#isSlow) return undefined;
    const found = await this.#probe.exists(this.#parts, indexes, this.#values, relation);
    this.#isSlow = found === undefined;
    return found;
  }
}

const known = (found: Found): boolean | null => (typeof found === 'boolean' ? found : null);

/**
 * Finds the columns at fault: those that have no row by themselves, and those without which a row
 * fits. If no column is of either kind, the first one up to which no row fits is at fault.
 */
function blamed(conditions: readonly AccessCondition[]): readonly AccessCondition[] {
  if (conditions.some(({ state }) => state !== 'ok')) {
    return conditions.map((condition) =>
      condition.hasRowAlone === false ? withoutRow(condition, 'alone') : condition,
    );
  }
  const apart = conditions.map((condition) => {
    if (condition.hasRowAlone === false) return withoutRow(condition, 'alone');
    return condition.hasRowWithout === true ? withoutRow(condition, 'beside the others') : condition;
  });
  if (apart.some(({ state }) => state === 'no row')) return apart;
  const first = conditions.findIndex(({ hasRowSoFar }) => hasRowSoFar === false);
  return conditions.map((condition, index) =>
    index === first ? withoutRow(condition, 'with those before') : condition,
  );
}

function withoutRow(
  condition: AccessCondition,
  how: 'alone' | 'beside the others' | 'with those before',
): AccessCondition {
  const { column, wanted, by } = condition;
  const value = `${column} = ${wanted.length === 1 ? shown(wanted[0] as string) : `any of ${wanted.map(shown).join(', ')}`}`;
  const messages = {
    alone: `the view has no row with ${value}`,
    'beside the others': `rows fit all other columns, but none of them has ${value}`,
    'with those before': `the view has rows with ${value}, and rows with the columns before it, but no row with both`,
  };
  return { ...condition, state: 'no row', message: `${messages[how]}${by === 'channel' ? ' (from the channel)' : ''}` };
}

const shown = (text: string): string => JSON.stringify(text);
