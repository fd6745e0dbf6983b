/**
 * access: who may subscribe. Default deny; the database decides (design: "Access").
 */
import type { ResolvedChannel } from '../channels/channel.ts';
import type { SnoError } from '../errors.ts';

/** What a token says of its bearer: every member of its payload, `sub` among them. No token: no claims. */
export type Claims = Readonly<Record<string, unknown>>;

export const ANONYMOUS: Claims = Object.freeze({});

export interface Access {
  /**
   * Whether a bearer of these claims may join the channel; undefined allows. Refuses with `channel_unknown` (a value
   * that is none of its column's type), `access_undeclared`, `access_denied`, or `try_again` where the database
   * could not be asked. `address` is the client's: too many checks of one keep out no other. Never rejects, and never allows when in doubt.
   */
  check(channel: ResolvedChannel, claims: Claims, address?: string): Promise<SnoError | undefined>;
}

/** What a token is worth. */
export interface Identity {
  readonly claims: Claims;
  /** When the token ends, in ms since 1970, clock tolerance included; undefined: never. */
  readonly expiresAt: number | undefined;
}

export interface Tokens {
  /**
   * Checks a token; `undefined` is a bearer without one. Never rejects: `token_invalid`, `token_expired` or
   * `token_unverifiable` are returned.
   */
  verify(token: string | undefined): Promise<Identity | SnoError>;
}
