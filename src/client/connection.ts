/**
 * Drives the state machine with a real socket, real timers and the token callback, and hands deliveries to handles.
 */
import type { ServerFrame } from '../protocol.ts';
import { delayMs } from './backoff.ts';
import { Emitter } from './emitter.ts';
import { type SnoClientError, toError } from './error.ts';
import type { ClientStatus, Delivery, Effect, Happening, State, Subscription, Timer, Want } from './machine.ts';
import { type ClientOptions, type Surroundings, surroundingsOf } from './options.ts';
import { Rows } from './rows.ts';
import { type SocketClass, Wire } from './socket.ts';
import { initialState, step } from './state.ts';
import { refreshAfterMs } from './token.ts';
import { clientStatusOf } from './turn.ts';

/** Where browsers and Node count the milliseconds of a timer in 31 bits. */
const TIMER_MS_MAX = 2 ** 31 - 1;

export interface ClientEvents {
  status: { readonly status: ClientStatus; readonly error: SnoClientError | undefined };
  /** An `error` frame, or a token callback that failed. What ends a channel or the client is told by its status. */
  error: { readonly error: SnoClientError; readonly channel: string | undefined };
}

/** One handle on a channel, as the connection sees it. */
export interface Listener {
  readonly channel: string;
  readonly want: Want;
  hear(delivery: Delivery): void;
}

/** The handles of one channel, and the rows that its views share. */
interface Topic {
  readonly handles: Set<Listener>;
  rows: Rows<unknown> | undefined;
}

export class Connection {
  readonly events = new Emitter<ClientEvents>();
  readonly #url: string;
  readonly #socketClass: SocketClass;
  readonly #options: ClientOptions;
  readonly #surroundings: Surroundings;
  readonly #topics = new Map<string, Topic>();
  readonly #timers = new Map<Timer, unknown>();
  readonly #happenings: Happening[] = [];
  #state: State;
  #busy = false;
  #wire: Wire | undefined;
  #closed: Promise<void> | undefined;

  constructor(url: string, socketClass: SocketClass, options: ClientOptions) {
    this.#url = url;
    this.#socketClass = socketClass;
    this.#options = options;
    this.#surroundings = surroundingsOf(options);
    const { token } = options;
    this.#state = initialState(typeof token === 'function' ? 'callback' : token === undefined ? 'none' : 'fixed');
    globalThis.addEventListener?.('online', this.#online);
    this.#dispatch({ type: 'start' });
  }

  get status(): ClientStatus {
    return clientStatusOf(this.#state.link.phase);
  }

  get error(): SnoClientError | undefined {
    const { failure } = this.#state.link;
    return failure === undefined ? undefined : toError(failure);
  }

  subscription(channel: string): Subscription | undefined {
    return this.#state.subscriptions.get(channel);
  }

  rows(channel: string): Rows<unknown> | undefined {
    return this.#topics.get(channel)?.rows;
  }

  isUsed(channel: string): boolean {
    return this.#topics.has(channel);
  }

  open(handle: Listener, since: string | undefined): void {
    const { channel, want } = handle;
    const topic = this.#topics.get(channel) ?? { handles: new Set(), rows: undefined };
    this.#topics.set(channel, topic);
    topic.handles.add(handle);
    if (want === 'rows') topic.rows ??= new Rows();
    this.#dispatch({ type: 'acquire', channel, want, since });
  }

  shut(handle: Listener): void {
    const { channel, want } = handle;
    const topic = this.#topics.get(channel);
    if (topic === undefined || !topic.handles.delete(handle)) return;
    if (![...topic.handles].some((other) => other.want === 'rows')) topic.rows = undefined;
    if (topic.handles.size === 0) this.#topics.delete(channel);
    this.#dispatch({ type: 'release', channel, want });
  }

  /** Asks the server to say when the channel includes the commit: a `reached` delivery, again after each loss of the connection. */
  await(channel: string, commit: string): void {
    this.#dispatch({ type: 'await', channel, commit });
  }

  /** One wait less. */
  forget(channel: string, commit: string): void {
    this.#dispatch({ type: 'forget', channel, commit });
  }

  /** Resolves when the socket is closed. */
  close(): Promise<void> {
    this.#closed ??= this.#wire?.closed ?? Promise.resolve();
    this.#dispatch({ type: 'close' });
    return this.#closed;
  }

  readonly #online = (): void => this.#dispatch({ type: 'online' });

  /** One happening at a time: those that effects bring about wait for their turn. */
  #dispatch(happening: Happening): void {
    this.#happenings.push(happening);
    if (this.#busy) return;
    this.#busy = true;
    try {
      for (let next = this.#happenings.shift(); next !== undefined; next = this.#happenings.shift()) {
        const [state, effects] = step(this.#state, next);
        this.#state = state;
        for (const effect of effects) this.#perform(effect);
      }
    } finally {
      this.#busy = false;
    }
  }

  #perform(effect: Effect): void {
    switch (effect.type) {
      case 'send':
        this.#wire?.send(JSON.stringify(effect.frame));
        break;
      case 'deliver':
        this.#deliver(effect.channel, effect.delivery);
        break;
      case 'schedule':
        this.#schedule(effect.timer, effect.ms);
        break;
      case 'retry': {
        const { backoff, random } = this.#surroundings;
        this.#schedule(effect.timer, delayMs(backoff, effect.attempt, effect.slow, random));
        break;
      }
      case 'cancel':
        this.#cancel(effect.timer);
        break;
      case 'askToken':
        void this.#askToken();
        break;
      case 'open':
        this.#openSocket();
        break;
      case 'drop':
        this.#wire?.drop(effect.code);
        this.#wire = undefined;
        break;
      case 'status':
        if (effect.status === 'closed') globalThis.removeEventListener?.('online', this.#online);
        this.events.emit('status', { status: effect.status, error: effect.failure && toError(effect.failure) });
        break;
      case 'error':
        this.events.emit('error', { error: toError(effect.failure), channel: effect.channel });
        break;
    }
  }

  #deliver(channel: string, delivery: Delivery): void {
    const topic = this.#topics.get(channel);
    if (topic === undefined) return;
    topic.rows?.apply(delivery);
    for (const handle of [...topic.handles]) handle.hear(delivery);
  }

  #schedule(timer: Timer, ms: number): void {
    const { timers } = this.#surroundings;
    this.#cancel(timer);
    const fire = (): void => {
      this.#timers.delete(timer);
      this.#dispatch({ type: 'timer', timer });
    };
    this.#timers.set(timer, timers.set(fire, Math.min(ms, TIMER_MS_MAX)));
  }

  #cancel(timer: Timer): void {
    this.#surroundings.timers.clear(this.#timers.get(timer));
    this.#timers.delete(timer);
  }

  async #askToken(): Promise<void> {
    this.#dispatch(await this.#readToken());
  }

  async #readToken(): Promise<Happening> {
    const { token: source } = this.#options;
    const { now, random } = this.#surroundings;
    try {
      const token = (typeof source === 'function' ? await source() : source) || undefined;
      return {
        type: 'token',
        token,
        refreshMs: typeof source === 'function' ? refreshAfterMs(token, now(), random) : undefined,
      };
    } catch (error) {
      return { type: 'tokenFailed', message: `The token callback failed: ${String(error)}` };
    }
  }

  #openSocket(): void {
    this.#wire = new Wire(new this.#socketClass(this.#url), {
      opened: () => this.#dispatch({ type: 'opened' }),
      received: (data) => this.#dispatch(parse(data)),
      closed: (code, reason) => this.#dispatch({ type: 'lost', code, reason }),
    });
  }
}

function parse(data: unknown): Happening {
  try {
    const frame = JSON.parse(data as string) as ServerFrame | null;
    if (typeof frame?.type === 'string') return { type: 'frame', frame };
  } catch {
    // Told below.
  }
  return { type: 'garbled', message: 'The server sent what is no frame.' };
}
