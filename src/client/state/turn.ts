/**
 * One step of the machine in progress: a draft of the next state and the effects so far. The
 * previous state stays unchanged.
 */
import type { ClientFrame } from '../../protocol.ts';
import type { ChannelStatus, ClientStatus, Delivery, Effect, Link, LinkPhase, State, Subscription } from './machine.ts';

export class Turn {
  readonly before: State;
  readonly effects: Effect[] = [];
  link: Link;
  /** A channel cannot continue without a new token. */
  wantsToken = false;
  /** A subscription ended, so that the connection has room for another one. */
  hasRoom = false;
  /** How the server broke the protocol: the client drops the connection. */
  broken: string | undefined;
  /** Undefined until the first write, which copies the subscriptions. */
  #subscriptions: Map<string, Subscription> | undefined;

  constructor(before: State) {
    this.before = before;
    this.link = before.link;
  }

  get(channel: string): Subscription | undefined {
    return (this.#subscriptions ?? this.before.subscriptions).get(channel);
  }

  /** Sets a channel's next state; undefined forgets the channel. */
  put(channel: string, next: Subscription | undefined): void {
    if (next === this.get(channel)) return;
    this.#subscriptions ??= new Map(this.before.subscriptions);
    if (next === undefined) this.#subscriptions.delete(channel);
    else this.#subscriptions.set(channel, next);
  }

  /** All subscriptions in their current state. */
  all(): readonly Subscription[] {
    return [...(this.#subscriptions ?? this.before.subscriptions).values()];
  }

  /** Applies `move` to every subscription. */
  each(move: (known: Subscription) => Subscription | undefined): void {
    for (const known of this.all()) this.put(known.channel, move(known));
  }

  /** Whether hello was sent, so that other frames may follow. */
  isGreeted(): boolean {
    return this.link.phase === 'greeting' || this.link.phase === 'open';
  }

  /** Forgets an error frame that did not end the connection. */
  excuse(): void {
    if (this.link.failure !== undefined) this.link = { ...this.link, failure: undefined };
  }

  emit(effect: Effect): void {
    this.effects.push(effect);
  }

  send(frame: ClientFrame): void {
    this.emit({ type: 'send', frame });
  }

  deliver(channel: string, delivery: Delivery): void {
    this.emit({ type: 'deliver', channel, delivery });
  }

  /**
   * The next state. The effects of changed statuses come last, after everything that caused them.
   */
  end(): State {
    const { before, link } = this;
    const subscriptions = this.#subscriptions ?? before.subscriptions;
    if (subscriptions !== before.subscriptions) {
      for (const [channel, now] of subscriptions) {
        const known = before.subscriptions.get(channel);
        const status = statusOf(now);
        if (now === known || (status === statusOf(known) && now.ending?.failure.code === known?.ending?.failure.code))
          continue;
        this.deliver(channel, { kind: 'status', status, failure: now.ending?.failure });
      }
    }
    const status = clientStatusOf(link.phase);
    if (status !== clientStatusOf(before.link.phase)) this.emit({ type: 'status', status, failure: link.failure });
    return { link, subscriptions };
  }
}

export function clientStatusOf(phase: LinkPhase): ClientStatus {
  return phase === 'authorizing' || phase === 'opening' || phase === 'greeting' ? 'connecting' : phase;
}

export function statusOf(subscription: Subscription | undefined): ChannelStatus {
  if (subscription === undefined) return 'connecting';
  const { phase, held, ending } = subscription;
  if (ending !== undefined) return ending.status;
  if (phase === 'live') return 'live';
  if (held !== 'nothing') return held === 'current' ? 'stale' : 'resyncing';
  return phase === 'joining' ? 'syncing' : 'connecting';
}
