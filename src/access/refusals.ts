/**
 * Why somebody may not join a channel. The client is told what it knows itself: whether it gave a token, and which claims
 * that has. The log is told what the access view asks for, with the values: `detail`.
 */
import type { AccessView, ResolvedChannel } from '../channels/channel.ts';
import { canonicalTest } from '../channels/value-text.ts';
import { SnoError } from '../errors.ts';
import { ANONYMOUS, type Claims } from './access.ts';
import { claimTexts, findClaim } from './claims.ts';

/** Why no row of the access view fits. All but `no row` is known without asking for rows. */
export type Lack = 'no token' | 'claim missing' | 'claim of another type' | 'no row';

const NAMES_MAX = 20;
const TEXT_MAX = 100;

/** What the claims lack for the view, whatever its rows are. */
export function lackOf(access: AccessView, claims: Claims): Lack {
  if (access.claims.length === 0) return 'no row';
  if (claims === ANONYMOUS) return 'no token';
  const texts = access.claims.map(({ name, test }) => ({ test, all: claimTexts(findClaim(claims, name)) }));
  if (texts.some(({ all }) => all.length === 0)) return 'claim missing';
  return texts.some(({ test, all }) => all.every((text) => test(text) === false)) ? 'claim of another type' : 'no row';
}

export function denied(channel: ResolvedChannel, access: AccessView | undefined, claims: Claims): SnoError {
  const lack = access === undefined ? 'no row' : lackOf(access, claims);
  const detail = `channel_access."${channel.pattern.text}" has no row for ${JSON.stringify(channel.name)}${asked(access, claims)}`;
  const names = claimNames(claims);
  switch (lack) {
    case 'no token':
      return new SnoError('access_denied', `this connection gave no token, and may not join ${channel.name}`, {
        detail,
      });
    case 'claim missing':
      return new SnoError(
        'access_denied',
        `this token may not join ${channel.name}: it lacks a claim that the channel asks for, and has ${names}`,
        { detail },
      );
    case 'claim of another type':
      return new SnoError(
        'access_denied',
        `this token may not join ${channel.name}: a claim that the channel asks for is of another type; it has ${names}`,
        { detail },
      );
    case 'no row':
      return new SnoError('access_denied', `this token may not join ${channel.name}; it has ${names}`, { detail });
  }
}

/** The view raises an error for this question. */
export function broken({ name, pattern }: ResolvedChannel, cause: Error): SnoError {
  return new SnoError('access_denied', `this token may not join ${name}`, {
    detail: `channel_access."${pattern.text}" cannot be evaluated: ${cause.message}`,
    cause,
  });
}

/** A value that its column cannot have. Which pattern it is of, and that there is one, is for the log. */
export function unknown(channel: ResolvedChannel): SnoError {
  const { name, values, valueTypes, pattern } = channel;
  const faults = values.flatMap((value, index) => {
    const type = valueTypes[index] as string;
    return canonicalTest(type)(value) === true
      ? []
      : `{${pattern.columns[index]}}: ${quoted(value)} is not of type ${type}`;
  });
  return new SnoError('channel_unknown', `there is no channel ${name}`, {
    detail: `channels."${pattern.text}": ${faults.join(', or ')}, as Postgres writes it`,
  });
}

export function undeclared({ name, pattern }: ResolvedChannel): SnoError {
  const columns = [...pattern.columns, 'user_id as sub'].join(', ');
  return new SnoError('access_undeclared', `nobody may join ${name}`, {
    detail: `the channel has no access view channel_access."${pattern.text}"`,
    hint: `Create the view that says who may: create view channel_access."${pattern.text}" as select ${columns} from ...`,
  });
}

/** For the log: what the view asks for, and what the token has of it. */
function asked(access: AccessView | undefined, claims: Claims): string {
  if (access === undefined || access.claims.length === 0) return '';
  const wanted = access.claims.map(({ name, type, test }) => {
    const claim = findClaim(claims, name);
    const texts = claimTexts(claim);
    if (claim === undefined) return `${name} (${type}), which is missing`;
    const isOther = texts.length === 0 || texts.every((text) => test(text) === false);
    return `${name} (${type}), which is ${quoted(claim)}${isOther ? ', not a value of that type' : ''}`;
  });
  const token = claims === ANONYMOUS ? 'there is no token' : `the token has ${claimNames(claims)}`;
  return `. It asks for the claims ${wanted.join('; ')}; ${token}`;
}

/** Their names alone: these the bearer knows. */
function claimNames(claims: Claims): string {
  const names = Object.keys(claims);
  if (names.length === 0) return 'no claims';
  const shown = names.slice(0, NAMES_MAX).map(quoted).join(', ');
  return `the claims ${shown}${names.length > NAMES_MAX ? ` and ${names.length - NAMES_MAX} more` : ''}`;
}

function quoted(value: unknown): string {
  const text = JSON.stringify(value);
  return text.length > TEXT_MAX ? `${text.slice(0, TEXT_MAX)}…` : text;
}
