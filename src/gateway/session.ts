/**
 * One client's subscriptions. The database checks access, so joining takes a while. Until the
 * answer arrives, the channel is in `#joining`; removing it there voids the answer.
 */
import type { Access, Claims } from '../access/access.ts';
import type { ResolvedChannel } from '../channels/served/served.ts';
import type { Clock } from '../clock.ts';
import { SnoError } from '../errors.ts';
import type { Fanout, Feed, From, Grant, Verdict } from '../fanout/fanout.ts';
import { parsePosition } from '../position.ts';
import type { ClientFrame, UnsubscribedCode } from '../protocol.ts';
import type { Limits } from './limits.ts';

/** How long after an access check that the database could not answer it is retried, in ms. */
const RECHECK_MS = 1_000;
/**
 * How long the stream may take to deliver a definition that was committed before a subscription, in
 * ms.
 */
const DEFINITIONS_MS = 5_000;
/** Refusals that a definition still on its way through the WAL may change. */
const BY_DEFINITION: ReadonlySet<string> = new Set([
  'channel_unknown',
  'channel_unavailable',
  'access_undeclared',
  'snapshot_unavailable',
]);

/** Resolves channel names. */
export interface ChannelResolver {
  resolve(name: string): ResolvedChannel | SnoError;
  /** The pattern that a mistyped name probably meant. Undefined: none is similar. */
  meant(name: string): string | undefined;
  /** Resolves when the definitions at this point of the stream are certain. Undefined: they are. */
  readonly known: Promise<void> | undefined;
}

export interface SubscriptionServices {
  readonly access: Access;
  readonly fanout: Pick<Fanout, 'openAccessCheck' | 'afterCommitted'>;
  readonly channels: ChannelResolver;
  readonly clock: Clock;
  readonly limits: Limits;
  readonly channelBytesMax: number;
  /** 0: no limit. */
  readonly subscriptionsMax: number;
}

/** The connection that the subscriptions belong to. */
export interface Subscriber {
  /** The client's address as limits count it. */
  readonly address: string;
  sendError(error: SnoError, channel: string): void;
}

type SubscribeFrame = Extract<ClientFrame, { readonly type: 'subscribe' }>;

export class Subscriptions implements Grant {
  readonly #feed: Feed;
  readonly #services: SubscriptionServices;
  readonly #subscriber: Subscriber;
  /** By channel name: one object for each attempt to join. Undefined: none. */
  #joining: Map<string, object> | undefined;
  /**
   * Access checks in progress, including those of abandoned attempts. So a client that joins and
   * leaves in a loop causes no more checks than others.
   */
  #checks = 0;
  /** Undefined: no valid claims (no hello yet, the token expired, the connection closed). */
  #claims: Claims | undefined;

  constructor(feed: Feed, services: SubscriptionServices, subscriber: Subscriber) {
    this.#feed = feed;
    this.#services = services;
    this.#subscriber = subscriber;
  }

  get address(): string {
    return this.#subscriber.address;
  }

  subscribe(frame: SubscribeFrame): void {
    const error = this.#precheck(frame);
    if (error !== undefined) {
      this.#subscriber.sendError(error, frame.channel);
      return;
    }
    const attempt = {};
    this.#joining ??= new Map();
    this.#joining.set(frame.channel, attempt);
    void this.#join(frame.channel, startOf(frame), attempt);
  }

  unsubscribe(channel: string): void {
    if (this.#endAttempt(channel)) this.#say(channel, 'client');
    else if (!this.#feed.unsubscribe(channel, 'client')) {
      const error = new SnoError('not_subscribed', 'this connection is not subscribed to the channel');
      this.#subscriber.sendError(error, channel);
    }
  }

  /**
   * Replaces the claims. Channels that they do not allow end with `access_revoked`. While the
   * database can't be asked, channels allowed by the earlier token stay until its expiry,
   * `grantedUntil` (ms since 1970).
   */
  setClaims(claims: Claims, grantedUntil: number): void {
    this.#claims = claims;
    for (const { name } of [...this.#feed.channels()]) void this.#recheck(name, claims, grantedUntil);
  }

  /**
   * Whether the client may still receive a channel. Retries until the database answers, or the
   * token expires.
   */
  async stillAllowed({ name }: ResolvedChannel): Promise<Verdict> {
    const { access, channels, clock } = this.#services;
    for (;;) {
      if (channels.known !== undefined) await channels.known;
      const claims = this.#claims;
      const channel = channels.resolve(name);
      if (claims === undefined) return false;
      if (channel instanceof SnoError) return 'dropped';
      const refusal = await access.check(channel, claims, this.#subscriber.address);
      if (claims !== this.#claims) continue;
      if (refusal?.code !== 'try_again') return verdictOf(refusal);
      await new Promise<void>((resolve) => clock.after(RECHECK_MS * (0.5 + clock.random()), resolve));
    }
  }

  /** Ends all subscriptions: the token has expired. */
  expire(): void {
    this.#claims = undefined;
    for (const channel of this.#joining?.keys() ?? []) this.#say(channel, 'token_expired');
    this.#joining = undefined;
    for (const channel of [...this.#feed.channels()]) this.#feed.unsubscribe(channel.name, 'token_expired');
  }

  /** Drops attempts in progress: the connection closes. */
  stop(): void {
    this.#claims = undefined;
    this.#joining = undefined;
  }

  #precheck({ channel, since, snapshot }: SubscribeFrame): SnoError | undefined {
    const { subscriptionsMax, channelBytesMax, limits } = this.#services;
    if (this.#claims === undefined) return new SnoError('token_expired', 'the token has expired');
    if (Buffer.byteLength(channel) > channelBytesMax) {
      limits.met('channel_bytes', this.#subscriber.address);
      return new SnoError('channel_invalid', `the name is longer than ${channelBytesMax} bytes`);
    }
    if (since !== undefined && snapshot === true)
      return new SnoError('position_invalid', '`since` stands beside `snapshot`');
    if (since !== undefined && parsePosition(since) === undefined)
      return new SnoError('position_invalid', '`since` is no position');
    if (this.#joining?.has(channel) || this.#feed.has(channel)) {
      return new SnoError('already_subscribed', 'this connection is subscribed to the channel already');
    }
    if (subscriptionsMax > 0 && this.#feed.subscriptionCount + this.#checks >= subscriptionsMax) {
      limits.met('subscriptions', this.#subscriber.address);
      return new SnoError('too_many_subscriptions', `a connection may have ${subscriptionsMax} subscriptions`);
    }
    return undefined;
  }

  async #join(name: string, from: From, attempt: object): Promise<void> {
    const { channels } = this.#services;
    this.#checks++;
    let isTold: boolean | undefined;
    try {
      for (;;) {
        if (channels.known !== undefined) await channels.known;
        if (this.#joining?.get(name) !== attempt) return;
        const claims = this.#claims as Claims;
        const asked = channels.resolve(name);
        const { refusal, newRevocations } =
          asked instanceof SnoError
            ? { refusal: asked, newRevocations: undefined }
            : await this.#ask(asked, claims, from);
        if (this.#joining?.get(name) !== attempt) return;
        // If the token or the views changed meanwhile, the answer is to another question.
        const channel = channels.resolve(name);
        if (channels.known !== undefined || claims !== this.#claims || !sameRules(asked, channel)) continue;
        const isDefined = refusal === undefined || !BY_DEFINITION.has(refusal.code);
        if (!isDefined && isTold === undefined) {
          isTold = await this.#told();
          continue;
        }
        this.#endAttempt(name);
        if (!isDefined && isTold === false) this.#subscriber.sendError(notTold(name), name);
        else if (refusal !== undefined) this.#subscriber.sendError(refusal, name);
        else this.#feed.subscribe(channel as ResolvedChannel, from, this, newRevocations);
        return;
      }
    } finally {
      this.#checks--;
    }
  }

  /**
   * Checks whether the channel may be joined, once queries see every commit that the WAL has
   * delivered.
   */
  async #ask(channel: ResolvedChannel, claims: Claims, from: From) {
    const window = this.#services.fanout.openAccessCheck(channel);
    try {
      await window.earlierRevocations;
      const refusal =
        (await this.#services.access.check(channel, claims, this.#subscriber.address)) ??
        snapshotRefusal(channel, from);
      return { refusal, newRevocations: window.newRevocations };
    } finally {
      window.close();
    }
  }

  /**
   * Whether the stream has delivered every definition committed before the call. False if that
   * takes too long.
   */
  #told(): Promise<boolean> {
    const { fanout, clock } = this.#services;
    return new Promise((resolve) => {
      const cancel = clock.after(DEFINITIONS_MS, () => resolve(false));
      fanout.afterCommitted(() => {
        cancel();
        resolve(true);
      });
    });
  }

  /** Ends the attempt to join. Returns false if there was none. */
  #endAttempt(channel: string): boolean {
    const wasJoining = this.#joining?.delete(channel) ?? false;
    if (this.#joining?.size === 0) this.#joining = undefined;
    return wasJoining;
  }

  async #recheck(name: string, claims: Claims, grantedUntil: number): Promise<void> {
    if (this.#claims !== claims || !this.#feed.has(name)) return;
    const { access, channels, clock } = this.#services;
    const channel = channels.resolve(name);
    // The fan-out ends a channel that no longer exists.
    if (channel instanceof SnoError) return;
    const refusal = await access.check(channel, claims, this.#subscriber.address);
    if (this.#claims !== claims || refusal === undefined) return;
    if (refusal.code === 'try_again' && clock.now() < grantedUntil) {
      clock.after(RECHECK_MS * (0.5 + clock.random()), () => void this.#recheck(name, claims, grantedUntil));
    } else {
      this.#feed.unsubscribe(name, 'access_revoked', verdictOf(refusal));
    }
  }

  #say(channel: string, code: UnsubscribedCode): void {
    this.#feed.send({ type: 'unsubscribed', channel, code });
  }
}

function startOf({ since, snapshot }: SubscribeFrame): From {
  if (snapshot === true) return { kind: 'snapshot' };
  return since === undefined ? { kind: 'now' } : { kind: 'since', position: since };
}

function verdictOf(refusal: SnoError | undefined): Verdict {
  return refusal?.code === 'access_undeclared' ? 'undeclared' : refusal === undefined;
}

function notTold(name: string): SnoError {
  return new SnoError('try_again', `it is not known just now whether there is a channel ${name}`);
}

function snapshotRefusal(channel: ResolvedChannel, from: From): SnoError | undefined {
  if (from.kind !== 'snapshot' || channel.view !== undefined) return undefined;
  if (channel.isViewGone === true)
    return new SnoError(
      'channel_unavailable',
      `the view of the channel ${channel.name} was dropped, so that it has no rows now`,
    );
  return new SnoError(
    'snapshot_unavailable',
    `the channel ${channel.name} has no channel view, and so no rows: it carries published messages only`,
  );
}

function sameRules(before: ResolvedChannel | SnoError, after: ResolvedChannel | SnoError): boolean {
  if (before instanceof SnoError || after instanceof SnoError)
    return before instanceof SnoError && after instanceof SnoError;
  return (
    before.view?.fingerprint === after.view?.fingerprint && before.access?.fingerprint === after.access?.fingerprint
  );
}
