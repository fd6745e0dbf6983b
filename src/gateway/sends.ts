/**
 * Checks what one client sends to the other subscribers of its channels. A channel's send view
 * decides whether the client may send. Its consent is kept until a commit may have changed it, the
 * token changes, or the client subscribes again. While the view is queried, further sends to the
 * channel wait, so that they stay in order.
 */
import type { Claims, Rights } from '../access/access.ts';
import { isEventName } from '../channels/published.ts';
import type { ResolvedChannel } from '../channels/served/served.ts';
import { SnoError } from '../errors.ts';
import type { Fanout } from '../fanout/fanout.ts';
import { nestsTooDeeply, SHOWN_DEPTH_MAX } from '../json.ts';
import type { ChannelResolver } from './channel-resolver.ts';
import type { Limits } from './limits.ts';
import { Rate } from './rate.ts';

/** Maximum bytes of the data of a send. */
const DATA_BYTES_MAX = 65_536;
/** The sends of this many seconds may arrive at once. */
const BURST_SECONDS = 1;

export interface SendRequest {
  readonly channel: string;
  /** The client's own name of the channel. Undefined: the client knows it by its name. */
  readonly name?: string;
  readonly event: string;
  /** JSON text. */
  readonly data: Buffer;
}

export interface SendServices {
  readonly rights: Rights;
  readonly channels: ChannelResolver;
  readonly fanout: Pick<Fanout, 'openAccessCheck'>;
  readonly limits: Limits;
  readonly clock: ConstructorParameters<typeof Rate>[1];
  /** 0: no limit. */
  readonly sendsPerSecondMax: number;
}

/** The session that sends. */
export interface Sender {
  readonly address: string;
  readonly claims: Claims | undefined;
  /**
   * Resolves when the attempt to join the channel has ended. Undefined: no attempt is in progress.
   * `name`: the channel as the client knows it.
   */
  joining(name: string): Promise<unknown> | undefined;
  isSubscribed(name: string): boolean;
  /** Called if the client may send this. */
  pass(request: SendRequest): void;
  refuse(request: SendRequest, error: SnoError): void;
}

/** The sends to a channel that wait for an answer. Undefined: the client may send. */
type Waiting = SendRequest[] | undefined;

/** Returns the limit on the sends of one connection. */
export function sendRateOf({ sendsPerSecondMax, clock }: Pick<SendServices, 'sendsPerSecondMax' | 'clock'>): Rate {
  return new Rate(sendsPerSecondMax, clock, BURST_SECONDS);
}

export class Sends {
  readonly #sender: Sender;
  readonly #services: SendServices;
  readonly #rate: Rate;
  /**
   * The channels to which the client may send, or for which the view is being queried, by the names
   * that the client knows.
   */
  readonly #channels = new Map<string, Waiting>();

  constructor(sender: Sender, services: SendServices, rate: Rate) {
    this.#sender = sender;
    this.#services = services;
    this.#rate = rate;
  }

  send(request: SendRequest): void {
    const error = this.#precheck(request);
    if (error !== undefined) return this.#sender.refuse(request, error);
    const name = nameOf(request);
    const waiting = this.#channels.get(name);
    if (waiting !== undefined) waiting.push(request);
    else if (this.#channels.has(name)) this.#pass(request);
    else void this.#ask(request);
  }

  /** Makes the next send query the view again. Without a channel: for all channels. */
  forget(channel?: string): void {
    for (const name of channel === undefined ? [...this.#channels.keys()] : [channel])
      if (this.#channels.get(name) === undefined) this.#channels.delete(name);
  }

  #precheck({ event, data }: SendRequest): SnoError | undefined {
    const { limits, sendsPerSecondMax } = this.#services;
    if (!this.#rate.take(1)) {
      limits.report('send_rate', this.#sender.address);
      return new SnoError('too_many_sends', `the connection sent more than ${sendsPerSecondMax} times a second`);
    }
    if (!isEventName(event))
      return new SnoError('send_invalid', 'the event must have 1 to 255 bytes without control characters');
    if (data.length > DATA_BYTES_MAX) {
      limits.report('send_bytes', this.#sender.address);
      return new SnoError('send_invalid', `the data is larger than ${DATA_BYTES_MAX} bytes`);
    }
    if (!nestsTooDeeply(data)) return undefined;
    return new SnoError('send_invalid', `the data nests more than ${SHOWN_DEPTH_MAX} levels deep`);
  }

  /** Queries the view, then answers all sends that have arrived meanwhile. */
  async #ask(request: SendRequest): Promise<void> {
    const name = nameOf(request);
    const waiting = [request];
    this.#channels.set(name, waiting);
    const { refusal, isLasting } = await this.#answer(name, request.channel);
    this.#channels.delete(name);
    if (refusal === undefined && isLasting) this.#channels.set(name, undefined);
    for (const each of waiting) {
      if (refusal === undefined) this.#pass(each);
      else this.#sender.refuse(each, refusal);
    }
  }

  #pass(request: SendRequest): void {
    if (this.#sender.isSubscribed(nameOf(request))) this.#sender.pass(request);
    else this.#sender.refuse(request, notSubscribed());
  }

  /** `isLasting`: whether the answer holds until something changes. */
  async #answer(
    name: string,
    channelName: string,
  ): Promise<{ readonly refusal: SnoError | undefined; readonly isLasting: boolean }> {
    const { channels, fanout, rights } = this.#services;
    await this.#sender.joining(name);
    for (;;) {
      if (channels.known !== undefined) await channels.known;
      const { claims, address } = this.#sender;
      const refused = (refusal: SnoError) => ({ refusal, isLasting: false });
      if (claims === undefined) return refused(new SnoError('token_expired', 'the token has expired'));
      if (!this.#sender.isSubscribed(name)) return refused(notSubscribed());
      const channel = channels.resolve(channelName);
      if (channel instanceof SnoError) return refused(channel);
      const window = fanout.openAccessCheck(channel, ['channel_send']);
      try {
        await window.earlierRevocations;
        const refusal = await rights.checkSend(channel, claims, address);
        if (
          claims !== this.#sender.claims ||
          channels.known !== undefined ||
          !sameView(channel, channels.resolve(channelName))
        )
          continue;
        return { refusal, isLasting: window.newRevocations === undefined };
      } finally {
        window.close();
      }
    }
  }
}

function nameOf({ name, channel }: SendRequest): string {
  return name ?? channel;
}

function notSubscribed(): SnoError {
  return new SnoError('not_subscribed', 'this connection is not subscribed to the channel');
}

function sameView(before: ResolvedChannel, after: ResolvedChannel | SnoError): boolean {
  return !(after instanceof SnoError) && before.send?.fingerprint === after.send?.fingerprint;
}
