/** Lists what is needed so that the token may join, most important first. */
import { isSql } from '../../admin/api/remedy.ts';
import type { AccessCondition, AccessStep, Need, ResolutionStep, TokenStep } from '../../admin/api/types.ts';
import type { PlainSelect } from '../../channels/sql/plain-select.ts';
import { ERRORS } from '../../errors.ts';
import { quoteLiteral, readableName } from '../../postgres/quote.ts';

export interface Steps {
  readonly token: TokenStep;
  readonly resolution: ResolutionStep;
  readonly access: AccessStep | null;
  readonly select: PlainSelect | undefined;
  /** Why the channel's view is refused. */
  readonly refusals: readonly { readonly view: string; readonly message: string; readonly hint: string }[];
}

export function needsOf({ token, resolution, access, select, refusals }: Steps): readonly Need[] {
  return [
    ...tokenNeeds(token),
    ...resolutionNeeds(resolution, refusals),
    ...(access === null ? [] : accessNeeds(access, resolution, select, token)),
  ];
}

function tokenNeeds({ state, code, message, checks }: TokenStep): readonly Need[] {
  if (state !== 'refused') return [];
  const text = `a token that Snö accepts: ${message}`;
  if (code === 'token_expired') return [{ text: `${text}. ${ERRORS.token_expired.hint}` }];
  if (code === 'token_unverifiable') return [{ text: `${text}. ${ERRORS.token_unverifiable.hint}` }];
  const isForged = checks.some(({ name, isRight }) => name === 'signature' && isRight === false);
  const hint = isForged
    ? 'It was signed with another key than the one that is set. A secret that is given as base64 must be set as it was used for signing'
    : 'Compare what is found with what is wanted';
  return [{ text: `${text}. ${hint}` }];
}

function resolutionNeeds(
  { state, code, message, meant, values }: ResolutionStep,
  refusals: Steps['refusals'],
): readonly Need[] {
  if (state === 'found') return [];
  const invalid = values.filter(({ isValid }) => isValid === false);
  if (invalid.length > 0)
    return invalid.map(({ name, type, value }) => ({
      text: `a name with a value of type ${type} for {${name}}, as Postgres prints it: ${JSON.stringify(value)} is not one`,
    }));
  if (refusals.length > 0)
    return refusals.map(({ view, message: why, hint }) => ({
      text: `${view} must be served: ${why}. ${hint}`,
      ...(isSql(hint) ? { remedy: { language: 'sql', text: hint } } : {}),
    }));
  if (meant !== null) return [{ text: `the name of a channel that exists: did you mean ${meant}?` }];
  return [
    {
      text: `a channel of this name: ${message}`,
      ...(code === 'channel_unknown'
        ? { remedy: { language: 'sql', text: "select viewname from pg_views where schemaname = 'channels';" } }
        : {}),
    },
  ];
}

function accessNeeds(
  access: AccessStep,
  { pattern, values }: ResolutionStep,
  select: PlainSelect | undefined,
  token: TokenStep,
): readonly Need[] {
  const { state, view, message, conditions, filters } = access;
  if (state === 'missing') {
    const columns = [...values.map(({ name }) => readableName(name)), 'user_id as sub'].join(', ');
    return [
      {
        text: `the access view ${view}: without it, no client may join`,
        remedy: { language: 'sql', text: `create view ${view} as select ${columns} from ...;` },
      },
    ];
  }
  if (state === 'failed') return [{ text: `an access view that can be asked: ${message}` }];
  if (state !== 'denied' || pattern === null) return [];
  const lacking = conditions.filter(({ state: each }) => each === 'missing' || each === 'invalid');
  const left = filters?.filter(({ holds }) => holds === false) ?? [];
  return [
    ...lacking.map((condition) => ({ text: claimNeed(condition, token) })),
    ...left.map(({ text }) => ({
      text: `the row fits all columns, but the view leaves it out: ${text} does not hold for it`,
    })),
    ...(left.length > 0 || lacking.length > 0 ? [] : [rowNeed(access, select)]),
  ];
}

function claimNeed({ column, type, state, wanted }: AccessCondition, { claims }: TokenStep): string {
  if (state === 'invalid')
    return `a claim ${column} of type ${type} in the token: it has ${wanted.map((value) => JSON.stringify(value)).join(', ') || 'another type'}`;
  const names = Object.keys(claims ?? {});
  const has = names.length === 0 ? 'it has no claims' : `it has ${names.slice(0, 20).join(', ')}`;
  return `a claim ${column} (${type}) in the token: ${claims === null ? 'there is no token' : has}`;
}

/** A row that fits all columns, and the conditions of the view. */
function rowNeed({ view, conditions }: AccessStep, select: PlainSelect | undefined): Need {
  const wanted = conditions.map(({ column, wanted: [value = ''] }) => [column, quoteLiteral(value).trim()] as const);
  const compared = wanted.map(([column, value]) => `${readableName(column)} = ${value}`).join(' and ');
  const where = compared === '' ? '' : ` where ${compared}`;
  const own = select?.conditions ?? [];
  const holding = own.length === 0 ? '' : `, for which ${own.join(' and ')} holds`;
  const reasons = conditions.flatMap(({ message }) => message ?? []);
  const text = `a row of ${view}${where}${holding}${reasons.length === 0 ? '' : `: ${reasons.join('; ')}`}`;
  const source = select?.source;
  const columns = wanted.flatMap(([column]) => source?.columns.get(column) ?? []);
  // The view shows every row of one table, so it is known what to insert.
  const isWhole = own.length === 0 && columns.length > 0 && columns.length === wanted.length;
  if (source === undefined || !isWhole)
    return { text, remedy: { language: 'sql', text: `select * from ${view}${where};` } };
  const names = columns.map((name) => readableName(name)).join(', ');
  const values = wanted.map(([, value]) => value).join(', ');
  return { text, remedy: { language: 'sql', text: `insert into ${source.table} (${names}) values (${values});` } };
}
