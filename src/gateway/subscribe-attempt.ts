/**
 * One attempt of a session to subscribe to a channel. It takes some time, since the database checks
 * access.
 *
 * 1. Wait until the definitions at this point of the stream are certain, and resolve the name.
 * 2. Check access. A window notes the commits that may revoke it meanwhile.
 * 3. If the token or the definitions changed meanwhile, the answer is outdated: start again.
 * 4. A definition that was committed before the request may not have arrived yet. So before a
 *    refusal that such a definition may change, wait for the stream once, and start again.
 * 5. Pass the answer to the session, in the same turn in which it was found to be still valid.
 */
import type { Access, Claims, Member, Rights } from '../access/access.ts';
import type { AccessSchema } from '../channels/catalog/catalog.ts';
import type { ResolvedChannel } from '../channels/served/served.ts';
import type { Clock } from '../clock.ts';
import { SnoError } from '../errors.ts';
import type { AccessCheckWindow, Alias, Fanout, From } from '../fanout/fanout.ts';
import type { PresenceRequest } from './appearances.ts';
import type { ChannelResolver } from './channel-resolver.ts';

/**
 * How long the stream may take to deliver a definition that was committed before a subscription, in
 * ms.
 */
const DEFINITIONS_MS = 5_000;
/** Refusals that a definition may change that the WAL has not delivered yet. */
const BY_DEFINITION: ReadonlySet<string> = new Set([
  'channel_unknown',
  'channel_unavailable',
  'access_undeclared',
  'snapshot_unavailable',
  'presence_undeclared',
]);

export interface AttemptServices {
  readonly access: Access;
  readonly rights: Rights;
  readonly fanout: Pick<Fanout, 'openAccessCheck' | 'afterCommitted'>;
  readonly channels: ChannelResolver;
  readonly clock: Clock;
}

/** The session that the attempt is of. */
export interface AttemptSession {
  /** The client's address as limits count it. */
  readonly address: string;
  /** Set while an attempt is current. */
  readonly claims: Claims | undefined;
  /** False: the client has left the channel, the token has expired or the connection is closing. */
  isCurrent(attempt: SubscribeAttempt): boolean;
  allow(attempt: SubscribeAttempt, channel: ResolvedChannel, newRevocations: Promise<unknown> | undefined): void;
  refuseAttempt(attempt: SubscribeAttempt, error: SnoError): void;
}

/** What the client asks for. */
export interface Wish {
  readonly channel: string;
  /** The client's own name of the channel. Undefined: the client knows it by its name. */
  readonly alias?: Alias;
  /** Undefined: without presence. */
  readonly presence?: PresenceRequest;
}

export class SubscribeAttempt {
  readonly from: From;
  readonly wish: Wish;
  /** The member that the client appears as, by the last answer. */
  member: Member | undefined;
  /** Resolves once the attempt is over. */
  done: Promise<void> | undefined;
  readonly #session: AttemptSession;
  readonly #services: AttemptServices;

  constructor(session: AttemptSession, services: AttemptServices, from: From, wish: Wish) {
    this.#session = session;
    this.#services = services;
    this.from = from;
    this.wish = wish;
  }

  /** The channel's name as the client knows it. */
  get name(): string {
    return this.wish.alias?.name ?? this.wish.channel;
  }

  /** Resolves once the session has the answer, or the attempt is no longer current. */
  async run(): Promise<void> {
    const { channels, fanout } = this.#services;
    const session = this.#session;
    /** Whether the stream has delivered the definitions. Undefined: it was not waited for. */
    let isDelivered: boolean | undefined;
    for (;;) {
      if (channels.known !== undefined) await channels.known;
      if (!session.isCurrent(this)) return;
      const claims = session.claims as Claims;
      const { version } = channels;
      const asked = channels.resolve(this.wish.channel);
      const window = asked instanceof SnoError ? undefined : fanout.openAccessCheck(asked, this.#views);
      try {
        const refusal = asked instanceof SnoError ? asked : await this.#check(asked, claims, window);
        if (!session.isCurrent(this)) return;
        const channel = channels.version === version ? asked : channels.resolve(this.wish.channel);
        if (channels.known !== undefined || claims !== session.claims || !sameRules(asked, channel)) continue;
        const mayChange = refusal !== undefined && BY_DEFINITION.has(refusal.code);
        if (!mayChange || isDelivered !== undefined) {
          if (mayChange && isDelivered === false) session.refuseAttempt(this, undelivered(this.wish.channel));
          else if (refusal !== undefined) session.refuseAttempt(this, refusal);
          else session.allow(this, channel as ResolvedChannel, window?.newRevocations);
          return;
        }
      } finally {
        window?.close();
      }
      isDelivered = await this.#definitionsDelivered();
    }
  }

  /**
   * Checks whether the channel may be joined, once queries see every commit that the WAL has
   * delivered. Undefined: it may.
   */
  #check(
    channel: ResolvedChannel,
    claims: Claims,
    window: AccessCheckWindow | undefined,
  ): Promise<SnoError | undefined> {
    const isSimple = window?.earlierRevocations === undefined && this.wish.presence === undefined;
    if (isSimple && snapshotRefusal(channel, this.from) === undefined)
      return this.#services.access.check(channel, claims, this.#session.address);
    return this.#checkAll(channel, claims, window);
  }

  async #checkAll(
    channel: ResolvedChannel,
    claims: Claims,
    window: AccessCheckWindow | undefined,
  ): Promise<SnoError | undefined> {
    await window?.earlierRevocations;
    const refusal = await this.#services.access.check(channel, claims, this.#session.address);
    return refusal ?? snapshotRefusal(channel, this.from) ?? this.#checkPresence(channel, claims);
  }

  /** The schemas of the views that decide. */
  get #views(): readonly AccessSchema[] {
    return this.wish.presence === true ? ['channel_access', 'channel_presence'] : ['channel_access'];
  }

  async #checkPresence(channel: ResolvedChannel, claims: Claims): Promise<SnoError | undefined> {
    const { presence } = this.wish;
    if (presence === undefined) return undefined;
    if (presence === 'watch') return this.#services.rights.checkWatch(channel);
    const found =
      presence === true ? await this.#services.rights.findMember(channel, claims, this.#session.address) : presence;
    if (found instanceof SnoError) return found;
    this.member = found;
    return undefined;
  }

  /**
   * Whether the stream has delivered every definition committed before the call. False if that
   * takes too long.
   */
  #definitionsDelivered(): Promise<boolean> {
    const { fanout, clock } = this.#services;
    return new Promise((resolve) => {
      const cancel = clock.after(DEFINITIONS_MS, () => resolve(false));
      fanout.afterCommitted(() => {
        cancel();
        resolve(true);
      });
    });
  }
}

function undelivered(name: string): SnoError {
  return new SnoError('try_again', `Snö does not know yet whether the channel ${name} exists`);
}

function snapshotRefusal(channel: ResolvedChannel, from: From): SnoError | undefined {
  if (from.kind !== 'snapshot' || channel.view !== undefined) return undefined;
  if (channel.isViewGone === true)
    return new SnoError(
      'channel_unavailable',
      `the view of the channel ${channel.name} was dropped, so it has no rows now`,
    );
  return new SnoError(
    'snapshot_unavailable',
    `the channel ${channel.name} has no channel view, so it has no rows: it carries published messages only`,
  );
}

function sameRules(before: ResolvedChannel | SnoError, after: ResolvedChannel | SnoError): boolean {
  if (before instanceof SnoError || after instanceof SnoError)
    return before instanceof SnoError && after instanceof SnoError;
  return (
    before.view?.fingerprint === after.view?.fingerprint && before.access?.fingerprint === after.access?.fingerprint
  );
}
