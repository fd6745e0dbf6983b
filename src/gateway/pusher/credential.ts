/**
 * A credential with which a client joins channels: a token, the app's signature, or nothing. Each
 * has a session of its own, which lasts as long as a channel needs it.
 */
import { type Access, ANONYMOUS, type Identity } from '../../access/access.ts';
import { isCanonical } from '../../access/channel-value.ts';
import { unknown } from '../../access/refusals.ts';
import { backoff } from '../../backoff.ts';
import { SnoError } from '../../errors.ts';
import type { Feed } from '../../fanout/fanout.ts';
import type { SendRequest } from '../sends.ts';
import { Session, type SessionConnection, type SessionServices } from '../session.ts';

const TOKEN = 'jwt:';
/** Maximum repeated attempts to check a token, over about a minute. */
const VERIFY_RETRIES_MAX = 12;

/** The connection that the session is of. */
export interface CredentialOwner {
  readonly id: string;
  readonly address: string;
  readonly feed: Feed;
}

/**
 * What decides about a channel: the access view without a token (`anonymous`), the app's signature,
 * its signature for a user, or the access view with a token.
 */
export type CredentialKind = 'anonymous' | 'signed' | { readonly signedUser: string } | { readonly token: string };

/** Returns a key. Two kinds have the same key if one credential serves both. */
export function keyOf(kind: CredentialKind): string {
  if (typeof kind === 'string') return kind;
  return 'token' in kind ? `${TOKEN}${kind.token}` : `signed:${kind.signedUser}`;
}

/** The token in an `auth`. Undefined: it is a signature. */
export function tokenIn(auth: string): string | undefined {
  return auth.startsWith(TOKEN) ? auth.slice(TOKEN.length) : undefined;
}

/**
 * The access check if the app's own server has decided: access views are not queried. Values that
 * cannot be in the channel's columns name no channel.
 */
export const DECIDED_BY_APP: Access = {
  check: async (channel) => (isCanonical(channel.values, channel.valueTypes) === false ? unknown(channel) : undefined),
};

export class Credential {
  /** Number of channels that use it. */
  uses = 0;
  /** Its session, or why the token is refused. Never rejects. */
  readonly session: Promise<Session | SnoError>;
  readonly #session: Session;
  readonly #clock: SessionServices['clock'];
  #isEnded = false;

  constructor(kind: CredentialKind, owner: CredentialOwner, services: SessionServices, connection: SessionConnection) {
    const own = isSigned(kind) ? { ...services, access: DECIDED_BY_APP } : services;
    this.#session = new Session(owner.feed, own, connection, owner.address, owner.id);
    this.#clock = services.clock;
    this.session = this.#begin(kind);
  }

  /** The user that the token names. */
  get user(): string | undefined {
    return this.#session.user;
  }

  get expiresAt(): number | undefined {
    return this.#session.state.tokenExpiresAt;
  }

  /** Leaves a channel, or ends the attempt to join it. */
  unsubscribe(name: string): void {
    // Nothing is to leave while its token is checked, or while it waits for the next attempt.
    const isJoining = this.#session.joining(name) !== undefined;
    if (isJoining || this.#session.isSubscribed(name)) this.#session.unsubscribe(name);
  }

  send(request: SendRequest): void {
    this.#session.send(request);
  }

  end(): void {
    this.#isEnded = true;
    this.#session.end();
  }

  async #begin(kind: CredentialKind): Promise<Session | SnoError> {
    const identity = isSigned(kind)
      ? { claims: typeof kind === 'string' ? ANONYMOUS : { sub: kind.signedUser }, expiresAt: undefined }
      : await this.#verify(typeof kind === 'string' ? undefined : kind.token);
    if (identity instanceof SnoError) return identity;
    if (!this.#isEnded) this.#session.renew(identity);
    return this.#session;
  }

  /** Retries while the key server gives no keys: a client that is refused would not ask again. */
  async #verify(token: string | undefined): Promise<Identity | SnoError> {
    for (let attempt = 0; ; attempt++) {
      const identity = await this.#session.verify(token);
      if (!isOutage(identity) || attempt === VERIFY_RETRIES_MAX) return identity;
      await new Promise<void>((resolve) => this.#clock.after(backoff(attempt, this.#clock.random()), resolve));
      if (this.#isEnded) return identity;
    }
  }
}

/** Whether the key server has failed. If no key is configured, the error has no cause. */
function isOutage(identity: Identity | SnoError): boolean {
  return identity instanceof SnoError && identity.code === 'token_unverifiable' && identity.cause !== undefined;
}

function isSigned(kind: CredentialKind): kind is 'signed' | { readonly signedUser: string } {
  return kind === 'signed' || (typeof kind === 'object' && 'signedUser' in kind);
}
