/** Finds claims in a token, and matches them with columns of an access view. */
import type { ClaimValue } from '../channels/events.ts';
import { canonicalTest, isText } from '../channels/values/value-text.ts';
import type { Claims } from './access.ts';

/**
 * The claim that a column names. It is a member of the token with exactly that name, dots included,
 * or else a nested member: `app_metadata.org` is `org` in `app_metadata`. Undefined: missing.
 */
export function findClaim(claims: Claims, name: string): unknown {
  if (Object.hasOwn(claims, name)) return claims[name];
  for (let dot = name.lastIndexOf('.'); dot > 0; dot = name.lastIndexOf('.', dot - 1)) {
    const outer = name.slice(0, dot);
    const members = Object.hasOwn(claims, outer) ? claims[outer] : undefined;
    if (typeof members !== 'object' || members === null || Array.isArray(members)) continue;
    const found = findClaim(members as Claims, name.slice(dot + 1));
    if (found !== undefined) return found;
  }
  return undefined;
}

/** The user that a token names, by its claim `sub`. Undefined: it names none. */
export function userOf(claims: Claims | undefined): string | undefined {
  const sub = claims?.['sub'];
  return typeof sub === 'string' || typeof sub === 'number' ? String(sub) : undefined;
}

/**
 * The texts that a claim matches: a string itself, a number or boolean as JSON prints it, an
 * array's elements. Empty if it matches nothing: a missing claim, null, an object.
 */
export function claimTexts(claim: unknown): readonly string[] {
  const texts: string[] = [];
  for (const item of Array.isArray(claim) ? claim : [claim]) {
    if (typeof item === 'string' ? isText(item) : typeof item === 'boolean' || isExact(item)) texts.push(String(item));
  }
  return texts;
}

/** Larger integers were rounded when the token was read: they may be another user's. */
function isExact(item: unknown): boolean {
  return typeof item === 'number' && (!Number.isInteger(item) || Number.isSafeInteger(item));
}

/**
 * Whether the claim certainly differs from the value with this text. A claim that is not written as
 * Postgres prints it may match: `007` is 7.
 */
export function differsFrom(claims: Claims, { name, text, type }: ClaimValue): boolean {
  const isPrinted = canonicalTest(type);
  return claimTexts(findClaim(claims, name)).every((own) => own !== text && isPrinted(own) === true);
}
