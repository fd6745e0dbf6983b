/**
 * The channels of one Pusher client. Clients of this protocol ask once for each channel of a
 * connection, and cannot resume. So this class does what Snö's own clients do by themselves.
 *
 * - A channel whose position is void (`reset`) is joined anew. The client receives `reset`, then
 *   `subscription_succeeded` once more, as after a reconnect. A cache channel's rows follow.
 * - A temporary refusal is not sent to the client: Snö retries until it has another answer. A
 *   client that was refused would not ask again on this connection.
 * - A token that expires while its channels are in use ends the connection. The client reconnects
 *   at once, and asks the app for each channel again.
 */
import { backoff } from '../../backoff.ts';
import { type Cancel, noTimer } from '../../clock.ts';
import { type ErrorCode, SnoError, toldToClient } from '../../errors.ts';
import type { ServerFrame } from '../../protocol.ts';
import type { PresenceRequest } from '../appearances.ts';
import type { Rate } from '../rate.ts';
import { sendRateOf } from '../sends.ts';
import { Session, type SessionConnection, type SessionServices } from '../session.ts';
import { type PusherApp, subscriptionText } from './app.ts';
import { subscriptionError } from './codes.ts';
import { Credential, type CredentialKind, type CredentialOwner, keyOf, tokenIn } from './credential.ts';
import { cacheMiss, type PusherEncodings, SUBSCRIPTION_SUCCEEDED } from './encoding.ts';
import { frameOf } from './frames.ts';
import { memberIn } from './member.ts';
import { isEncrypted, type PusherName, parseName } from './names.ts';

/** Temporary refusals. */
const PASSING: ReadonlySet<string> = new Set(['try_again', 'overloaded']);
/** Refusals of a channel whose view is being replaced: temporary if the client had joined it. */
const REPLACED: ReadonlySet<string> = new Set(['channel_unknown', 'channel_unavailable', 'access_undeclared']);
/** Maximum attempts to join a channel whose view is gone, over about a minute. */
const REPLACED_ATTEMPTS_MAX = 12;
/** Refusals of client events. */
const SENDS: ReadonlySet<string> = new Set([
  'send_undeclared',
  'send_denied',
  'send_invalid',
  'too_many_sends',
  'not_subscribed',
]);
const UNKNOWN: ReadonlySet<string> = new Set(['channel_unknown', 'channel_invalid']);

export interface ChannelServices extends SessionServices {
  readonly app: PusherApp;
  readonly pusherEncodings: PusherEncodings;
}

/** The connection that the channels are of. */
export interface ChannelsOwner extends CredentialOwner {
  /** Whether the client accepts compressed frames. */
  readonly deflates: boolean;
  /** The user that has signed in. */
  readonly signedInUser: string | undefined;
  /** The token of a channel in use has expired. */
  onTokenExpired(): void;
  /** Sends the client an error about one of its frames. */
  sendFault(message: string): void;
  /** Sends the client the error why its event is not sent to others. */
  refuseEvent(message: string): void;
}

/** How a client may join a channel. */
interface Admission {
  readonly kind: CredentialKind;
  /** How the client takes part in presence. Undefined: it does not. */
  readonly presence: PresenceRequest | undefined;
}

/** A channel that the client has asked for, until it leaves or is refused. */
interface Wanted extends Pick<Admission, 'presence'> {
  readonly name: PusherName;
  /** The key of its credential. */
  readonly key: string;
  /** Whether it has been joined on this connection. */
  wasJoined: boolean;
  /** Whether the channel has no rows: it carries messages only. */
  isRowless: boolean;
  attempts: number;
  cancelRetry: Cancel;
}

export interface SubscribeWish {
  readonly channel: string;
  readonly auth: string | undefined;
  readonly channelData: string | undefined;
}

/** An event of a client. */
interface SentEvent {
  readonly event: string;
  readonly channel: string;
  /** JSON text. */
  readonly data: Buffer;
}

export class PusherChannels implements SessionConnection {
  readonly #owner: ChannelsOwner;
  readonly #services: ChannelServices;
  /** By the names that the client knows. */
  readonly #wanted = new Map<string, Wanted>();
  /** By their keys. */
  readonly #credentials = new Map<string, Credential>();
  /** Records refusals. It joins nothing. */
  #recorder: Session | undefined;
  /** Undefined: the client has sent nothing yet. */
  #sendRate: Rate | undefined;
  #isEnded = false;

  constructor(owner: ChannelsOwner, services: ChannelServices) {
    this.#owner = owner;
    this.#services = services;
  }

  /** The credential whose token names the client's user. Undefined: none does. */
  get identity(): Credential | undefined {
    return [...this.#credentials.values()].find(({ user }) => user !== undefined);
  }

  /** The credentials share it, so that a client with many tokens may not send more. */
  get sendRate(): Rate {
    this.#sendRate ??= sendRateOf(this.#services);
    return this.#sendRate;
  }

  subscribe({ channel, auth, channelData }: SubscribeWish): void {
    if (this.#wanted.has(channel)) return this.#owner.sendFault(`Existing subscription to channel ${channel}`);
    const { subscriptionsMax, channelBytesMax, limits } = this.#services;
    // A long name is refused by the session.
    const name = Buffer.byteLength(channel) > 2 * channelBytesMax ? undefined : parseName(channel);
    if (name === undefined) return this.#refuse(channel, invalidName(channel));
    const admission = this.#admissionOf(name, auth, channelData);
    if (admission instanceof SnoError) return this.#refuse(channel, admission);
    if (subscriptionsMax > 0 && this.#wanted.size >= subscriptionsMax) {
      limits.report('subscriptions', this.#owner.address);
      const message = `a connection may have at most ${subscriptionsMax} subscriptions`;
      return this.#refuse(channel, new SnoError('too_many_subscriptions', message));
    }
    const { kind, presence } = admission;
    const wanted: Wanted = {
      name,
      key: keyOf(kind),
      presence,
      wasJoined: false,
      isRowless: false,
      attempts: 0,
      cancelRetry: noTimer,
    };
    this.#credentialOf(kind).uses++;
    this.#wanted.set(channel, wanted);
    void this.#join(wanted);
  }

  /** Sends an event to the other clients of a channel. */
  send({ channel: name, event, data }: SentEvent): void {
    const wanted = this.#wanted.get(name);
    if (wanted === undefined || !wanted.name.isPrivate || wanted.name.user !== undefined)
      return this.#owner.refuseEvent(`${event}: the client has joined no private or presence channel of this name`);
    this.#credentials.get(wanted.key)?.send({ channel: wanted.name.channel, name, event, data });
  }

  /** A channel that the client has not joined is ignored: Snö may have ended it meanwhile. */
  unsubscribe(channel: string): void {
    const wanted = this.#wanted.get(channel);
    if (wanted === undefined) return;
    this.#wanted.delete(channel);
    this.#credentials.get(wanted.key)?.unsubscribe(channel);
    this.#release(wanted);
  }

  end(): void {
    this.#isEnded = true;
    for (const wanted of this.#wanted.values()) wanted.cancelRetry();
    for (const credential of this.#credentials.values()) credential.end();
    this.#wanted.clear();
    this.#credentials.clear();
  }

  /** Called by a session. `channel`: as the client knows it. */
  sendError(error: SnoError, channel: string): void {
    const wanted = this.#wanted.get(channel);
    if (SENDS.has(error.code)) return this.#owner.refuseEvent(toldToClient(error).message);
    if (wanted === undefined) return;
    if (error.code === 'snapshot_unavailable') {
      wanted.isRowless = true;
      void this.#join(wanted);
    } else if (isPassing(error.code, wanted)) {
      this.#joinLater(wanted);
    } else {
      this.#refuse(channel, error);
    }
  }

  /** Called before the feed sends a control frame. */
  sending(frame: ServerFrame): void {
    if (this.#isEnded || !('channel' in frame) || frame.channel === undefined) return;
    const wanted = this.#wanted.get(frame.channel);
    if (wanted === undefined) return;
    switch (frame.type) {
      case 'subscribed':
        this.#onJoined(wanted);
        break;
      case 'reset':
        this.#onReset(wanted, frame.reason);
        break;
      case 'unsubscribed':
        if (frame.code === 'token_expired') this.#owner.onTokenExpired();
        else if (frame.code === 'channel_dropped' || frame.undeclared === true) this.#onReset(wanted, frame.code);
        else this.#refuse(frame.channel, new SnoError('access_denied', 'access to the channel has been revoked'));
        break;
      case 'error':
        if (PASSING.has(frame.code)) this.#joinLater(wanted);
        else this.#end(wanted, frame.code as ErrorCode, frame.message);
        break;
      case 'snapshot':
      case 'changes':
      case 'message':
      case 'presence':
        break;
    }
  }

  /** Returns how the client may join the channel, or the refusal. */
  #admissionOf(name: PusherName, auth: string | undefined, data: string | undefined): Admission | SnoError {
    const { isPrivate, isPresence, user } = name;
    if (user !== undefined) {
      if (user === this.#owner.signedInUser) return { kind: 'signed', presence: undefined };
      return new SnoError('access_denied', 'the channel is for a user that has signed in');
    }
    if (!isPrivate) return { kind: 'anonymous', presence: undefined };
    if (auth === undefined) return new SnoError('access_denied', 'the channel is private, and the client sent no auth');
    const token = tokenIn(auth);
    if (token !== undefined) return { kind: { token }, presence: isPresence ? true : undefined };
    if (!this.#services.app.allows(auth, subscriptionText(this.#owner.id, name.name, data)))
      return new SnoError('token_invalid', 'the signature is not that of the app for this connection and channel');
    if (!isPresence) return { kind: 'signed', presence: undefined };
    const member = memberIn(data);
    return member instanceof SnoError ? member : { kind: { signedUser: member.id }, presence: member };
  }

  #credentialOf(kind: CredentialKind): Credential {
    const key = keyOf(kind);
    let credential = this.#credentials.get(key);
    if (credential === undefined) {
      credential = new Credential(kind, this.#owner, this.#services, this);
      this.#credentials.set(key, credential);
    }
    return credential;
  }

  async #join(wanted: Wanted): Promise<void> {
    const { name, key, presence, isRowless } = wanted;
    const session = await this.#credentials.get(key)?.session;
    if (session === undefined || this.#wanted.get(name.name) !== wanted) return;
    if (session instanceof SnoError) return this.#refuse(name.name, session);
    const alias = { name: name.name, encoding: this.#services.pusherEncodings.of(name, this.#owner.deflates) };
    const snapshot = name.hasRows && !isRowless;
    session.subscribe({ channel: name.channel, alias, snapshot, ...(presence === undefined ? {} : { presence }) });
  }

  /** Joins after a wait that grows with each attempt. */
  #joinLater(wanted: Wanted): void {
    const { clock } = this.#services;
    wanted.cancelRetry();
    wanted.cancelRetry = clock.after(backoff(wanted.attempts++, clock.random()), () => {
      wanted.cancelRetry = noTimer;
      void this.#join(wanted);
    });
  }

  #onJoined(wanted: Wanted): void {
    const { name, hasRows, isPresence } = wanted.name;
    wanted.wasJoined = true;
    wanted.attempts = 0;
    // It comes with the first rows, or with the members.
    if (!isPresence && (!hasRows || wanted.isRowless))
      this.#owner.feed.sendRaw(frameOf(SUBSCRIPTION_SUCCEEDED, {}, name));
    if (hasRows && wanted.isRowless) this.#owner.feed.sendRaw(cacheMiss(name));
  }

  #onReset(wanted: Wanted, reason: string): void {
    if (wanted.wasJoined) this.#owner.feed.sendRaw(frameOf('reset', { reason }, wanted.name.name));
    wanted.isRowless = false;
    this.#joinLater(wanted);
  }

  #refuse(channel: string, error: SnoError): void {
    const wanted = this.#wanted.get(channel);
    if (wanted?.name.user !== undefined && UNKNOWN.has(error.code)) {
      // Clients ask for their user's channel after each sign-in, though it may carry nothing.
      this.#owner.feed.sendRaw(frameOf(SUBSCRIPTION_SUCCEEDED, {}, channel));
      return;
    }
    const { feed, address, id } = this.#owner;
    this.#recorder ??= new Session(feed, this.#services, this, address, id);
    const { code, message } = this.#recorder.record(error, wanted?.name.channel);
    if (wanted !== undefined) this.#end(wanted, code, message);
    else this.#sendRefusal(channel, code, message);
  }

  #end(wanted: Wanted, code: ErrorCode, message: string): void {
    this.#wanted.delete(wanted.name.name);
    this.#release(wanted);
    this.#sendRefusal(wanted.name.name, code, message);
  }

  #sendRefusal(channel: string, code: ErrorCode, message: string): void {
    this.#owner.feed.sendRaw(frameOf('pusher:subscription_error', subscriptionError(code, message), channel));
  }

  /** The client no longer wants the channel. */
  #release({ key, cancelRetry }: Wanted): void {
    cancelRetry();
    const credential = this.#credentials.get(key);
    if (credential === undefined || --credential.uses > 0) return;
    this.#credentials.delete(key);
    credential.end();
  }
}

function invalidName(name: string): SnoError {
  if (isEncrypted(name)) return new SnoError('pusher_request_invalid', 'encrypted channels are not served');
  return new SnoError('channel_invalid', 'the name is no channel: it needs text behind its prefix');
}

function isPassing(code: string, { wasJoined, attempts }: Wanted): boolean {
  return PASSING.has(code) || (wasJoined && attempts < REPLACED_ATTEMPTS_MAX && REPLACED.has(code));
}
