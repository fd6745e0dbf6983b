/**
 * access: decides which clients may subscribe. Default deny; the database decides (design:
 * "Access").
 */
import type { ResolvedChannel } from '../channels/served/served.ts';
import type { SnoError } from '../errors.ts';

/** A token's claims: every member of its payload, including `sub`. No token: no claims. */
export type Claims = Readonly<Record<string, unknown>>;

export const ANONYMOUS: Claims = Object.freeze({});

export interface Access {
  /**
   * Whether a client with these claims may join the channel. Undefined: it may. Refuses with
   * `channel_unknown` (a value is not valid for its column's type), `access_undeclared`,
   * `access_denied`, or `try_again` if the database could not be asked. `address` is the client's:
   * too many checks from one address do not block others. Never rejects, and never allows when in
   * doubt.
   */
  check(channel: ResolvedChannel, claims: Claims, address?: string): Promise<SnoError | undefined>;
}

/** A member of a channel, as the others see it. */
export interface Member {
  readonly id: string;
  /** JSON text of an object. */
  readonly info: string;
}

/** What a client may do in a channel that it has joined. As `check`, nothing here rejects. */
export interface Rights {
  /** Whether the client may send. Undefined: it may. Else `send_undeclared` or `send_denied`. */
  checkSend(channel: ResolvedChannel, claims: Claims, address?: string): Promise<SnoError | undefined>;
  /** Whether the members can be watched. Undefined: they can. Else `presence_undeclared`. */
  checkWatch(channel: ResolvedChannel): SnoError | undefined;
  /** The member that the client appears as, or `presence_undeclared` or `presence_denied`. */
  findMember(channel: ResolvedChannel, claims: Claims, address?: string): Promise<Member | SnoError>;
}

/** The result of a valid token. */
export interface Identity {
  readonly claims: Claims;
  /** When the token expires, in ms since 1970, including clock tolerance. Undefined: never. */
  readonly expiresAt: number | undefined;
}

export interface Tokens {
  /**
   * Checks a token; `undefined` is a client without one. Never rejects: `token_invalid`,
   * `token_expired` or `token_unverifiable` are returned.
   */
  verify(token: string | undefined): Promise<Identity | SnoError>;
  /**
   * Returns what `verify` would, if that is known without a wait: the token was verified before and
   * is still valid, or the client has none. Undefined: call `verify`.
   */
  recall?(token: string | undefined): Identity | undefined;
}
