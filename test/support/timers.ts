/** Counts timers by the code that made them: the test runner has timers in the same process. */
import { AsyncLocalStorage, createHook } from 'node:async_hooks';

export interface TimerCount {
  /** Runs `work`. Timers that it makes count, and those of the events that it causes. */
  readonly during: <T>(work: () => Promise<T>) => Promise<T>;
  /** Timers that have neither fired nor been cleared. An interval counts until it is cleared. */
  readonly running: () => number;
  readonly end: () => void;
}

export function countTimers(): TimerCount {
  const context = new AsyncLocalStorage<true>();
  const running = new Set<number>();
  const hook = createHook({
    init(id, type) {
      if (type === 'Timeout' && context.getStore()) running.add(id);
    },
    destroy(id) {
      running.delete(id);
    },
  }).enable();
  return {
    during: (work) => context.run(true, work),
    running: () => running.size,
    end: () => void hook.disable(),
  };
}
