/** The client's pure state machine for tests: frames, happenings, and machines in some states. */
import type {
  Delivery,
  Effect,
  Happening,
  State,
  Subscription,
  TokenSource,
} from '../../../src/client/state/machine.ts';
import { initialState, step } from '../../../src/client/state/state.ts';
import type { ChangesFrame, ServerFrame } from '../../../src/protocol.ts';

export const CHANNEL = 'project:42';

/** The machine with its history of effects. */
export class Machine {
  state: State;
  /** Effects of the last step. */
  effects: readonly Effect[] = [];

  constructor(tokenSource: TokenSource = 'none') {
    this.state = initialState(tokenSource);
  }

  feed(...happenings: readonly Happening[]): this {
    for (const happening of happenings) [this.state, this.effects] = step(this.state, happening);
    return this;
  }

  hear(...frames: readonly ServerFrame[]): this {
    return this.feed(...frames.map((frame) => ({ type: 'frame', frame }) as const));
  }

  connect(token?: string): this {
    return this.feed({ type: 'token', token, refreshMs: undefined }, { type: 'opened' });
  }

  get subscription(): Subscription {
    const found = this.state.subscriptions.get(CHANNEL);
    if (found === undefined) throw new Error('there is no such subscription');
    return found;
  }

  get sent(): unknown[] {
    return this.effects.flatMap((effect) => (effect.type === 'send' ? [effect.frame] : []));
  }

  get delivered(): Delivery[] {
    return this.effects.flatMap((effect) => (effect.type === 'deliver' ? [effect.delivery] : []));
  }

  effect<Type extends Effect['type']>(type: Type): Extract<Effect, { type: Type }> | undefined {
    return this.effects.find((effect): effect is Extract<Effect, { type: Type }> => effect.type === type);
  }
}

export const WELCOME: Extract<ServerFrame, { readonly type: 'welcome' }> = {
  type: 'welcome',
  connection: 'c',
  epoch: 'e',
  heartbeat_s: 10,
};
export const SNAPSHOT: ServerFrame = { type: 'snapshot', channel: CHANNEL, rows: [], part: 1, last: true };
export const acquire = (want: 'events' | 'snapshot' | 'rows', since?: string): Happening => ({
  type: 'acquire',
  channel: CHANNEL,
  want,
  since,
});
export const release = (want: 'events' | 'snapshot' | 'rows'): Happening => ({
  type: 'release',
  channel: CHANNEL,
  want,
});
export const subscribed = (position: string): ServerFrame => ({ type: 'subscribed', channel: CHANNEL, position });
export const message = (position: string): ServerFrame => ({
  type: 'message',
  channel: CHANNEL,
  position,
  event: 'e',
  data: 1,
});
export const error = (code: string): ServerFrame => ({ type: 'error', code, message: code, channel: CHANNEL });
export const changes = (position: string, more: Partial<ChangesFrame> = {}): ServerFrame => ({
  type: 'changes',
  channel: CHANNEL,
  position,
  lsn: '0/1',
  xid: 1,
  committed_at: '',
  events: [],
  ...more,
});
export const lost = (code: number, isTooLarge = false): Happening => ({
  type: 'lost',
  code,
  reason: '',
  hint: 'Check it.',
  isTooLarge,
});
export const timer = (name: 'watchdog' | 'reconnect' | 'refresh' | `channel:${string}`): Happening => ({
  type: 'timer',
  timer: name,
});

export const started = (tokenSource: TokenSource = 'none'): Machine => new Machine(tokenSource).feed({ type: 'start' });
export const open = (tokenSource: TokenSource = 'none'): Machine => started(tokenSource).connect('t1').hear(WELCOME);
export const liveEvents = (): Machine => open().feed(acquire('events')).hear(subscribed('p1'));
export const liveRows = (): Machine => open().feed(acquire('rows')).hear(SNAPSHOT, subscribed('p1'));
