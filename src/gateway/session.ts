/**
 * One client's session: its token, claims, expiry and subscriptions, and the limits on them. It
 * knows no socket and no protocol. The connection, which speaks a protocol, calls the session for
 * what the client wants; the session answers through the feed and through `sendError`.
 *
 * - Claims: `renew` sets them, from the first token on. They end when the token expires, or with
 *   the session. Without claims nothing can be subscribed to.
 * - Attempts: joining a channel takes a while (subscribe-attempt.ts). Until then the channel is in
 *   `#attempts`; removing it there voids the attempt's answer.
 * - Grant: fan-out calls `stillAllowed` when access may have ended. The answer depends on the
 *   claims at that time.
 */
import { randomUUID } from 'node:crypto';
import type { Claims, Identity, Tokens } from '../access/access.ts';
import { differsFrom, userOf } from '../access/claims.ts';
import type { AccessSchema } from '../channels/catalog/catalog.ts';
import type { ClaimValue } from '../channels/events.ts';
import type { ResolvedChannel } from '../channels/served/served.ts';
import { noTimer } from '../clock.ts';
import type { Deadlines } from '../deadlines.ts';
import { SnoError, toldToClient } from '../errors.ts';
import type { Feed, From, Grant, Verdict } from '../fanout/fanout.ts';
import type { Logger } from '../logger.ts';
import type { Incidents } from '../metrics/incidents.ts';
import type { Metrics } from '../metrics/metrics.ts';
import type { Exchange } from '../peers/exchange.ts';
import { parsePosition } from '../position.ts';
import type { UnsubscribedCode } from '../protocol.ts';
import { type AppearanceServices, Appearances } from './appearances.ts';
import { type Limits, LOGGED_CHARACTERS_MAX } from './limits.ts';
import type { Rate } from './rate.ts';
import { type Sender, type SendRequest, type SendServices, Sends, sendRateOf } from './sends.ts';
import { type AttemptServices, type AttemptSession, SubscribeAttempt, type Wish } from './subscribe-attempt.ts';

/** How long after a failed access check it is repeated, in ms. */
const RECHECK_MS = 1_000;

export interface SessionServices
  extends AttemptServices,
    Omit<SendServices, 'fanout'>,
    Omit<AppearanceServices, 'fanout'> {
  /** Delivers sends to the other subscribers. */
  readonly exchange: Pick<Exchange, 'send'>;
  readonly tokens: Tokens;
  /** Expiry times of tokens. */
  readonly deadlines: Deadlines;
  readonly limits: Limits;
  readonly metrics: Pick<Metrics, 'denials' | 'patterns' | 'sends'>;
  readonly logger: Logger;
  /** Recent faults, for the operator. */
  readonly incidents?: Incidents;
  readonly tokenBytesMax: number;
  readonly channelBytesMax: number;
  /** 0: no limit. */
  readonly subscriptionsMax: number;
}

/** The client's connection, of any protocol. */
export interface SessionConnection {
  /**
   * The limit on its sends, if several sessions share the connection. Undefined: the session is the
   * only one.
   */
  readonly sendRate?: Rate;
  /** `channel`: as the client knows it. */
  sendError(error: SnoError, channel: string): void;
}

/** A client's wish to subscribe, not validated yet. */
export interface SubscribeRequest extends Wish {
  readonly since?: string;
  readonly snapshot?: boolean;
}

/** The state of a session that the admin API shows. */
export interface SessionState {
  readonly id: string;
  /** The user that the token names. */
  readonly user: string | undefined;
  /** Times in ms since 1970. */
  readonly connectedAt: number;
  readonly tokenExpiresAt: number | undefined;
}

export class Session implements Grant, AttemptSession, Sender {
  readonly id: string;
  readonly address: string;
  /** In seconds since 1970: a number that needs no memory of its own. */
  readonly #connectedAt = Math.floor(Date.now() / 1_000);
  readonly #feed: Feed;
  readonly #services: SessionServices;
  readonly #connection: SessionConnection;
  /** By the names of channels that the client knows. Undefined: none. */
  #attempts: Map<string, SubscribeAttempt> | undefined;
  /** Undefined: the client has asked for no presence yet. */
  #appearances: Appearances | undefined;
  /** Undefined: the client has sent nothing yet. */
  #sends: Sends | undefined;
  /**
   * Access checks in progress, including those of abandoned attempts. So a client that joins and
   * leaves in a loop causes no more checks than others.
   */
  #checks = 0;
  /** Subscriptions that the earlier token allowed and that the new one was not checked for yet. */
  #unchecked = 0;
  /** Undefined: no valid claims (no token yet, the token expired, the session has ended). */
  #claims: Claims | undefined;
  /** ms since 1970. Undefined: the token does not expire. */
  #expiresAt: number | undefined;
  #cancelExpiry = noTimer;

  /** `address`: the client's address as limits count it. `id`: that of the connection. */
  constructor(
    feed: Feed,
    services: SessionServices,
    connection: SessionConnection,
    address: string,
    id: string = randomUUID(),
  ) {
    this.id = id;
    this.#feed = feed;
    this.#services = services;
    this.#connection = connection;
    this.address = address;
  }

  /** The user that the token names. Undefined: it names none. */
  get user(): string | undefined {
    return userOf(this.#claims);
  }

  /** The state that the admin API shows. */
  get state(): SessionState {
    const { id, user } = this;
    return { id, user, connectedAt: this.#connectedAt * 1_000, tokenExpiresAt: this.#expiresAt };
  }

  get claims(): Claims | undefined {
    return this.#claims;
  }

  /** Checks a token; undefined is a client without one. `renew` takes the result. Never rejects. */
  async verify(token: string | undefined): Promise<Identity | SnoError> {
    const { limits, tokens, tokenBytesMax } = this.#services;
    if (token === undefined || Buffer.byteLength(token) <= tokenBytesMax) return tokens.verify(token);
    limits.report('token_bytes', this.address);
    return new SnoError('token_invalid', `the token is longer than ${tokenBytesMax} bytes`);
  }

  /** Returns what `verify` would, if that is known without a wait. Undefined: call `verify`. */
  recall(token: string | undefined): Identity | undefined {
    const { tokens, tokenBytesMax } = this.#services;
    if (token !== undefined && Buffer.byteLength(token) > tokenBytesMax) return undefined;
    return tokens.recall?.(token);
  }

  /**
   * Replaces claims and expiry. Channels that the claims do not allow end with `access_revoked`.
   * While the database can't be asked, channels allowed by the earlier token stay until its expiry.
   */
  renew({ claims, expiresAt }: Identity): void {
    const grantedUntil = this.#expiresAt ?? Number.POSITIVE_INFINITY;
    this.#claims = claims;
    this.#sends?.forget();
    this.#appearances?.recheckAll();
    for (const { name, channel } of [...this.#feed.subscribed(this)])
      void this.#recheckRenewed(name, channel.name, claims, grantedUntil);
    this.#expiresAt = expiresAt;
    this.#cancelExpiryTimer();
    if (expiresAt !== undefined) this.#cancelExpiry = this.#services.deadlines.at(expiresAt, () => this.#expire());
  }

  subscribe(request: SubscribeRequest): void {
    const error = this.#precheck(request);
    const { channel, alias } = request;
    const name = alias?.name ?? channel;
    if (error !== undefined) {
      this.#connection.sendError(error, name);
      return;
    }
    const attempt = new SubscribeAttempt(this, this.#services, startOf(request), request);
    this.#attempts ??= new Map();
    this.#attempts.set(name, attempt);
    this.#checks++;
    attempt.done = attempt.run().then(() => {
      this.#checks--;
    });
  }

  /** `name`: as the client knows the channel. */
  unsubscribe(name: string): void {
    if (this.#endAttempt(name)) this.#sendUnsubscribed(name, 'client');
    else if (!this.#feed.unsubscribe(name, 'client')) {
      const error = new SnoError('not_subscribed', 'this connection is not subscribed to the channel');
      this.#connection.sendError(error, name);
    }
  }

  /** Sends to the other subscribers of a channel that the client has joined, or is joining. */
  send(request: SendRequest): void {
    this.#sends ??= new Sends(this, this.#services, this.#connection.sendRate ?? sendRateOf(this.#services));
    this.#sends.send(request);
  }

  joining(name: string): Promise<unknown> | undefined {
    return this.#attempts?.get(name)?.done;
  }

  isSubscribed(name: string): boolean {
    return this.#feed.has(name);
  }

  pass({ channel, event, data }: SendRequest): void {
    this.#services.metrics.sends.inc();
    this.#services.exchange.send({ channel, event, data, from: this.user }, this.#feed);
  }

  refuse({ channel, name = channel }: SendRequest, error: SnoError): void {
    this.#connection.sendError(error, name);
  }

  hasOther(claim: ClaimValue): boolean {
    return this.#claims !== undefined && this.#unchecked === 0 && differsFrom(this.#claims, claim);
  }

  rightsChanged(name: string, schema: AccessSchema, seen: Promise<unknown>): void {
    if (schema === 'channel_send') this.#sends?.forget(name);
    else this.#appearances?.recheck(name, seen);
  }

  ended(name: string): void {
    this.#sends?.forget(name);
    this.#appearances?.end(name);
  }

  /** Ends claims and attempts: the connection closes. The feed's owner ends the feed. */
  end(): void {
    this.#cancelExpiryTimer();
    this.#claims = undefined;
    this.#attempts = undefined;
  }

  /** Retries until the database answers, or the token expires. */
  stillAllowed(asked: ResolvedChannel): Promise<Verdict> {
    const { access, channels } = this.#services;
    const claims = this.#claims;
    // Mostly nothing has changed, and the database answers.
    if (channels.known !== undefined || claims === undefined || asked.version !== channels.version)
      return this.#stillAllowed(asked.name);
    return access.check(asked, claims, this.address).then((refusal) => {
      if (claims !== this.#claims) return this.#stillAllowed(asked.name);
      if (refusal?.code !== 'try_again') return verdictOf(refusal);
      return this.#recheckLater().then(() => this.#stillAllowed(asked.name));
    });
  }

  async #stillAllowed(name: string): Promise<Verdict> {
    const { access, channels } = this.#services;
    for (;;) {
      if (channels.known !== undefined) await channels.known;
      const claims = this.#claims;
      const channel = channels.resolve(name);
      if (claims === undefined) return false;
      if (channel instanceof SnoError) return 'dropped';
      const refusal = await access.check(channel, claims, this.address);
      if (claims !== this.#claims) continue;
      if (refusal?.code !== 'try_again') return verdictOf(refusal);
      await this.#recheckLater();
    }
  }

  #recheckLater(): Promise<void> {
    const { clock } = this.#services;
    return new Promise((resolve) => clock.after(RECHECK_MS * (0.5 + clock.random()), resolve));
  }

  isCurrent(attempt: SubscribeAttempt): boolean {
    return this.#attempts?.get(attempt.name) === attempt;
  }

  allow(attempt: SubscribeAttempt, channel: ResolvedChannel, newRevocations?: Promise<unknown>): void {
    const { name, from, wish, member } = attempt;
    this.#endAttempt(name);
    this.#feed.subscribe(channel, from, this, newRevocations, wish.alias);
    if (wish.presence === undefined || !this.#feed.has(name)) return;
    this.#appearances ??= new Appearances(this, this.#feed, this.#services);
    this.#appearances.begin(name, channel.name, wish.presence, member);
    if (newRevocations !== undefined) this.#appearances.recheck(name, newRevocations);
  }

  refuseAttempt({ name }: SubscribeAttempt, error: SnoError): void {
    this.#endAttempt(name);
    this.#connection.sendError(error, name);
  }

  /** Counts and logs an error. Returns the error as the client receives it. */
  record(error: SnoError, channel: string | undefined): ReturnType<typeof toldToClient> {
    const { metrics, channels, logger, incidents } = this.#services;
    const told = toldToClient(error);
    metrics.denials[told.code]?.inc();
    incidents?.record('denial', told.code, { cause: error.detail ?? error.message, channel, hint: error.hint });
    const pattern = channel === undefined ? undefined : channels.patternOf(channel);
    if (pattern !== undefined) metrics.patterns.of(pattern).denials++;
    if (error.code === 'channel_unknown' && channel !== undefined) this.#logUnknown(error, channel);
    const { code, message, detail, hint } = error;
    logger.debug({ connection: this.id, code, channel, error: message, detail, hint }, 'a client received an error');
    return told;
  }

  /** Logs the unknown channel. The client does not learn which channels exist. */
  #logUnknown({ code, detail }: SnoError, asked: string): void {
    const { limits, logger, channels } = this.#services;
    limits.logSometimes(code, () => {
      const channel = asked.slice(0, LOGGED_CHARACTERS_MAX);
      const meant = detail === undefined ? channels.meant(asked) : undefined;
      const why = detail ?? `no view matches it${meant === undefined ? '' : `; did you mean ${meant}?`}`;
      logger.info({ code, connection: this.id, channel }, `a client asked for a channel that does not exist: ${why}`);
    });
  }

  #precheck({ channel, alias, since, snapshot }: SubscribeRequest): SnoError | undefined {
    const name = alias?.name ?? channel;
    const { subscriptionsMax, channelBytesMax, limits } = this.#services;
    if (this.#claims === undefined) return new SnoError('token_expired', 'the token has expired');
    if (Buffer.byteLength(channel) > channelBytesMax) {
      limits.report('channel_bytes', this.address);
      return new SnoError('channel_invalid', `the name is longer than ${channelBytesMax} bytes`);
    }
    if (since !== undefined && snapshot === true)
      return new SnoError('position_invalid', '`since` and `snapshot` exclude each other');
    if (since !== undefined && parsePosition(since) === undefined)
      return new SnoError('position_invalid', '`since` is not a position');
    if (this.#attempts?.has(name) || this.#feed.has(name)) {
      return new SnoError('already_subscribed', 'this connection is already subscribed to the channel');
    }
    if (subscriptionsMax > 0 && this.#feed.subscriptionCount + this.#checks >= subscriptionsMax) {
      limits.report('subscriptions', this.address);
      return new SnoError('too_many_subscriptions', `a connection may have at most ${subscriptionsMax} subscriptions`);
    }
    return undefined;
  }

  /** Ends the attempt to join. Returns false if there was none. */
  #endAttempt(name: string): boolean {
    const wasJoining = this.#attempts?.delete(name) ?? false;
    if (this.#attempts?.size === 0) this.#attempts = undefined;
    return wasJoining;
  }

  async #recheckRenewed(name: string, channelName: string, claims: Claims, grantedUntil: number): Promise<void> {
    this.#unchecked++;
    try {
      await this.#recheck(name, channelName, claims, grantedUntil);
    } finally {
      this.#unchecked--;
    }
  }

  async #recheck(name: string, channelName: string, claims: Claims, grantedUntil: number): Promise<void> {
    if (this.#claims !== claims || !this.#feed.has(name)) return;
    const { access, channels, clock, fanout } = this.#services;
    const channel = channels.resolve(channelName);
    // The fan-out ends a channel that no longer exists.
    if (channel instanceof SnoError) return;
    const window = fanout.openAccessCheck(channel, ['channel_access']);
    window.close();
    let refusal = await access.check(channel, claims, this.address);
    // Commits that queries did not see yet may have been skipped: they affected a user that the
    // earlier token did not name.
    if (refusal === undefined && window.earlierRevocations !== undefined) {
      await window.earlierRevocations;
      if (this.#claims === claims) refusal = await access.check(channel, claims, this.address);
    }
    if (this.#claims !== claims || refusal === undefined) return;
    if (refusal.code === 'try_again' && clock.now() < grantedUntil) {
      await this.#recheckLater();
      await this.#recheck(name, channelName, claims, grantedUntil);
    } else {
      this.#feed.unsubscribe(name, 'access_revoked', verdictOf(refusal));
    }
  }

  /** The token has expired. */
  #expire(): void {
    this.#claims = undefined;
    for (const channel of this.#attempts?.keys() ?? []) this.#sendUnsubscribed(channel, 'token_expired');
    this.#attempts = undefined;
    for (const { name } of [...this.#feed.subscribed(this)]) this.#feed.unsubscribe(name, 'token_expired');
  }

  #cancelExpiryTimer(): void {
    this.#cancelExpiry();
    this.#cancelExpiry = noTimer;
  }

  #sendUnsubscribed(channel: string, code: UnsubscribedCode): void {
    this.#feed.send({ type: 'unsubscribed', channel, code });
  }
}

function startOf({ since, snapshot }: SubscribeRequest): From {
  if (snapshot === true) return { kind: 'snapshot' };
  return since === undefined ? { kind: 'now' } : { kind: 'since', position: since };
}

function verdictOf(refusal: SnoError | undefined): Verdict {
  return refusal?.code === 'access_undeclared' ? 'undeclared' : refusal === undefined;
}
