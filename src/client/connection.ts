/**
 * Drives the state machine with a real socket, real timers and the token callback, and hands
 * deliveries to handles.
 */
import type { ClientFrame, ServerFrame } from '../protocol.ts';
import { delayMs } from './backoff.ts';
import { Emitter } from './emitter.ts';
import { type SnoClientError, toError } from './error.ts';
import { type ClientOptions, type OpenOptions, type Surroundings, surroundingsOf, TIMER_MS_MAX } from './options.ts';
import { Outbox } from './outbox.ts';
import { isTooLarge } from './platform/platform-errors.ts';
import { type Target, Wire } from './platform/socket.ts';
import type { Rows } from './rows.ts';
import type { ClientStatus, Effect, Happening, State, Subscription, Timer } from './state/machine.ts';
import { initialState, step } from './state/state.ts';
import { clientStatusOf } from './state/turn.ts';
import { checkToken, refreshAfterMs } from './token.ts';
import { type Listener, Topics } from './topics.ts';
import { Wake } from './wake.ts';
import { hintOf } from './why.ts';

export interface ClientEvents {
  status: { readonly status: ClientStatus; readonly error: SnoClientError | undefined };
  /**
   * An `error` frame, or a failed token callback. The status reports errors that end a channel or
   * the client.
   */
  error: { readonly error: SnoClientError; readonly channel: string | undefined };
}

/** The key under which a client holds its connection, for extensions. */
export const CONNECTION: unique symbol = Symbol.for('sno.connection') as never;

/** A module beside the core, such as presence, which sees and changes frames. */
export interface Extension {
  /** Called for each frame to the server. Returns the frame to send. */
  outgoing(frame: ClientFrame): ClientFrame;
  /** Called for each frame of the server. Returns the frame that the core handles. */
  incoming(frame: ServerFrame): ServerFrame;
}

export class Connection {
  /** Set by the extension. */
  extension: Extension | undefined;
  readonly events = new Emitter<ClientEvents>();
  readonly #findTarget: () => Target;
  readonly #options: ClientOptions;
  readonly #surroundings: Surroundings;
  readonly #topics: Topics;
  readonly #outbox: Outbox;
  #wake: Wake | undefined;
  #target: Target | undefined;
  readonly #timers = new Map<Timer, unknown>();
  readonly #happenings: Happening[] = [];
  #state: State;
  #busy = false;
  #wire: Wire | undefined;
  #closed: Promise<void> | undefined;
  /** When a newer token should be requested, in ms since 1970. Undefined: unknown. */
  #tokenDueAt: number | undefined;

  /**
   * `findTarget` is called once, when the client starts. Its error is thrown to the caller that
   * starts the client.
   */
  constructor(findTarget: () => Target, options: ClientOptions) {
    this.#findTarget = findTarget;
    this.#options = options;
    this.#surroundings = surroundingsOf(options);
    const token = options.token ?? undefined;
    const { timers, now, keepMs } = this.#surroundings;
    this.#state = initialState(typeof token === 'function' ? 'callback' : token === undefined ? 'none' : 'fixed');
    this.#topics = new Topics({
      timers,
      keepMs,
      release: (channel, want) => this.#dispatch({ type: 'release', channel, want }),
    });
    this.#outbox = new Outbox({
      timers,
      now,
      send: (text) => this.#wire?.send(text),
      cancelled: (channel) =>
        this.#dispatch({ type: 'frame', frame: { type: 'unsubscribed', channel, code: 'client' } }),
    });
    if (options.lazy !== true) this.#start();
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
    return this.#topics.rows(channel);
  }

  isUsed(channel: string): boolean {
    return this.#topics.isUsed(channel);
  }

  open(handle: Listener, { since, waitForAccess: waitsForAccess = false, old = false }: OpenOptions): void {
    const { channel, want } = handle;
    this.#start();
    if (since !== undefined) this.#topics.drop(channel);
    const takeOver = this.#topics.add(handle);
    this.#dispatch({ type: 'acquire', channel, want, since, waitsForAccess, old: old === true });
    takeOver();
  }

  shut(handle: Listener): void {
    this.#topics.remove(handle, this.#state.subscriptions.get(handle.channel)?.phase === 'live');
  }

  /**
   * Asks the server to report when the channel includes the commit: a `reached` delivery. Does
   * nothing if the channel is not live: then no answer counts for it.
   */
  ask(channel: string, commit: string): void {
    if (this.subscription(channel)?.phase === 'live') this.#outbox.push({ type: 'ping', reached: commit });
  }

  /** Subscribes again, with the extension's new wishes. No event is missed. */
  rejoin(channel: string): void {
    this.#dispatch({ type: 'rejoin', channel });
  }

  /** Sends a frame of an extension. Returns false if hello was not sent on this connection yet. */
  post(frame: ClientFrame): boolean {
    const { phase } = this.#state.link;
    if (phase !== 'greeting' && phase !== 'open') return false;
    this.#outbox.push(frame);
    return true;
  }

  /** Resolves when the socket is closed. */
  close(): Promise<void> {
    this.#closed ??= this.#wire?.closed ?? Promise.resolve();
    this.#dispatch({ type: 'close' });
    return this.#closed;
  }

  #start(): void {
    if (this.#target !== undefined || this.status === 'closed') return;
    this.#target = this.#findTarget();
    this.#wake = new Wake(this.#surroundings, () => {
      const isTokenDue = this.#tokenDueAt !== undefined && this.#surroundings.now() >= this.#tokenDueAt;
      this.#dispatch({ type: 'wake', isTokenDue });
    });
    this.#dispatch({ type: 'start' });
  }

  /** Handles one event at a time: events caused by effects wait for their turn. */
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
        this.#outbox.push(this.extension?.outgoing(effect.frame) ?? effect.frame);
        break;
      case 'deliver':
        this.#topics.deliver(effect.channel, effect.delivery);
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
        this.#outbox.reset();
        break;
      case 'status':
        if (effect.status === 'closed') this.#end();
        this.events.emit('status', { status: effect.status, error: effect.failure && toError(effect.failure) });
        break;
      case 'error':
        this.events.emit('error', { error: toError(effect.failure), channel: effect.channel });
        break;
    }
  }

  #end(): void {
    this.#wake?.stop();
    this.#topics.dropAll();
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
    const isCallback = typeof source === 'function';
    try {
      const token = checkToken(isCallback ? await source() : source);
      const refreshMs = isCallback ? refreshAfterMs(token, now(), random) : undefined;
      this.#tokenDueAt = refreshMs === undefined ? undefined : now() + refreshMs;
      return { type: 'token', token, refreshMs };
    } catch (error) {
      const { final } = (error ?? {}) as { final?: unknown };
      const message = `The token ${isCallback ? 'callback failed' : 'option is invalid'}: ${String(error)}`;
      return { type: 'tokenFailed', message, isFinal: !isCallback || final === true };
    }
  }

  #receive(happening: Happening): void {
    if (happening.type !== 'frame' || this.extension === undefined) this.#dispatch(happening);
    else this.#dispatch({ type: 'frame', frame: this.extension.incoming(happening.frame) });
  }

  #openSocket(): void {
    const { url, socketClass } = this.#target as Target;
    let wasOpen = false;
    this.#outbox.reset();
    try {
      this.#wire = new Wire(new socketClass(url), {
        opened: () => {
          wasOpen = true;
          this.#dispatch({ type: 'opened' });
        },
        received: (data) => this.#receive(parse(data)),
        closed: (code, reason, detail) => {
          const origin = (globalThis as { location?: { origin?: string } }).location?.origin;
          const hint = hintOf({ url, code, origin, wasOpen, detail });
          this.#dispatch({ type: 'lost', code, reason, hint, isTooLarge: isTooLarge(detail) });
        },
      });
    } catch (error) {
      const message = `This platform does not open ${url}: ${String(error)} A page that was loaded over https can open only wss: URLs.`;
      this.#dispatch({ type: 'unopenable', message });
    }
  }
}

function parse(data: unknown): Happening {
  try {
    const frame = JSON.parse(data as string) as ServerFrame | null;
    if (typeof frame?.type === 'string') return { type: 'frame', frame };
  } catch {
    // Reported below, like any other invalid frame.
  }
  return { type: 'garbled', message: 'The server sent an invalid frame.' };
}
