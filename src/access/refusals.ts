/**
 * Makes the errors that say why a client may not join a channel. The client receives the names of
 * claims that are missing or of another type, and its token's claim names. The log (`detail`)
 * receives all claims that the access view asks for, with their values.
 */
import type { ResolvedChannel, ServedAccess } from '../channels/served/served.ts';
import { canonicalTest, isInput } from '../channels/values/value-text.ts';
import { SnoError } from '../errors.ts';
import { ANONYMOUS, type Claims } from './access.ts';
import { claimTexts, findClaim } from './claims.ts';

/** Why no row of the access view fits. All reasons but `no row` are known without querying rows. */
export type Lack = 'no token' | 'claim missing' | 'claim of another type' | 'no row';

/** A type of the app, with its schema. Its name is only logged. */
const OWN_TYPE = /[."]/;
const NAMES_MAX = 20;
const TEXT_MAX = 100;

/** A claim that the access view asks for, and the token's value of it. */
interface AskedClaim {
  readonly name: string;
  readonly type: string;
  readonly value: unknown;
  readonly lack: 'claim missing' | 'claim of another type' | undefined;
}

function askedClaims(access: ServedAccess | undefined, claims: Claims): readonly AskedClaim[] {
  return (access?.claims ?? []).map(({ name, type, input }) => {
    const value = findClaim(claims, name);
    const isMissing = value === undefined || value === null;
    // An empty list has no element of another type: it matches nothing.
    const isEmpty = Array.isArray(value) && value.length === 0;
    const isInvalid = !isEmpty && claimTexts(value).every((text) => isInput(input, text) === false);
    return { name, type, value, lack: isMissing ? 'claim missing' : isInvalid ? 'claim of another type' : undefined };
  });
}

/** Returns what the claims lack for the view, independent of its rows. */
function lackOf(asked: readonly AskedClaim[], claims: Claims): Lack {
  if (asked.length === 0) return 'no row';
  if (claims === ANONYMOUS) return 'no token';
  const lacks = asked.map(({ lack }) => lack);
  if (lacks.includes('claim missing')) return 'claim missing';
  return lacks.includes('claim of another type') ? 'claim of another type' : 'no row';
}

export interface Denial {
  readonly lack: Lack;
  readonly error: SnoError;
}

export function denied(channel: ResolvedChannel, access: ServedAccess | undefined, claims: Claims): Denial {
  const asked = askedClaims(access, claims);
  const lack = lackOf(asked, claims);
  const detail = `channel_access."${channel.pattern.text}" has no row for ${JSON.stringify(channel.name)}${askedText(asked, claims)}`;
  return { lack, error: denialOf(channel.name, lack, asked, claims, detail) };
}

function denialOf(name: string, lack: Lack, asked: readonly AskedClaim[], claims: Claims, detail: string): SnoError {
  const names = claimNames(claims);
  const wantingNames = listed(asked.filter((claim) => claim.lack === lack).map((claim) => claim.name));
  switch (lack) {
    case 'no token':
      return new SnoError('access_denied', `this connection has no token and may not join ${name}`, {
        detail,
      });
    case 'claim missing':
      return new SnoError(
        'access_denied',
        `this token may not join ${name}: it lacks ${wantingNames} that the channel requires; it has ${names}`,
        { detail },
      );
    case 'claim of another type':
      return new SnoError(
        'access_denied',
        `this token may not join ${name}: ${wantingNames} must be of another type; it has ${names}`,
        { detail },
      );
    case 'no row':
      return new SnoError('access_denied', `this token may not join ${name}; it has ${names}`, { detail });
  }
}

/** The refusal if the view raises an error for this channel and these claims. */
export function broken({ name, pattern }: ResolvedChannel, cause: Error): SnoError {
  return new SnoError('access_denied', `this token may not join ${name}`, {
    detail: `channel_access."${pattern.text}" cannot be evaluated: ${cause.message}`,
    cause,
  });
}

/**
 * The refusal if a value is not valid for its column. The log receives the pattern. The client only
 * learns which value is not of which type.
 */
export function unknown(channel: ResolvedChannel): SnoError {
  const { name, values, valueTypes, pattern } = channel;
  const faults = values.flatMap((value, index) => {
    const type = valueTypes[index] as string;
    return canonicalTest(type)(value) === true ? [] : { column: pattern.columns[index], value: quoted(value), type };
  });
  const logged = faults.map(({ column, value, type }) => `{${column}}: ${value} is not of type ${type}`);
  const invalidValues = faults
    .map(({ value, type }) => `${value} is not a valid ${OWN_TYPE.test(type) ? 'value' : type}`)
    .join(', or ');
  return new SnoError(
    'channel_unknown',
    `the channel ${name} does not exist: ${invalidValues}, as Postgres writes it`,
    {
      detail: `channels."${pattern.text}": ${logged.join(', or ')}, as Postgres writes it`,
    },
  );
}

export function undeclared({ name, pattern }: ResolvedChannel): SnoError {
  const columns = [...pattern.columns, 'user_id as sub'].join(', ');
  return new SnoError('access_undeclared', `no client may join ${name}`, {
    detail: `the channel has no access view channel_access."${pattern.text}"`,
    hint: `Create the access view: create view channel_access."${pattern.text}" as select ${columns} from ...`,
  });
}

/** Text for the log: the claims that the view asks for, and the token's values of them. */
function askedText(asked: readonly AskedClaim[], claims: Claims): string {
  if (asked.length === 0) return '';
  const wanted = asked.map(({ name, type, value, lack }) => {
    if (value === undefined) return `${name} (${type}), which is missing`;
    return `${name} (${type}), which is ${quoted(value)}${lack === undefined ? '' : ', not a value of that type'}`;
  });
  const token = claims === ANONYMOUS ? 'there is no token' : `the token has ${claimNames(claims)}`;
  return `. It asks for the claims ${wanted.join('; ')}; ${token}`;
}

/** The claims' names only: the client knows these. */
function claimNames(claims: Claims): string {
  const names = Object.keys(claims);
  if (names.length === 0) return 'no claims';
  const shown = names.slice(0, NAMES_MAX).map(quoted).join(', ');
  return `the claims ${shown}${names.length > NAMES_MAX ? ` and ${names.length - NAMES_MAX} more` : ''}`;
}

function listed(names: readonly string[]): string {
  return `the claim${names.length === 1 ? '' : 's'} ${names.map(quoted).join(', ')}`;
}

function quoted(value: unknown): string {
  const text = JSON.stringify(value);
  return text.length > TEXT_MAX ? `${text.slice(0, TEXT_MAX)}…` : text;
}
