import { BACKOFF, type Backoff } from './backoff.ts';
import { SnoClientError } from './error.ts';
import type { SocketClass } from './platform/socket.ts';

/**
 * Returns a token. Nothing or an empty string: the client connects without a token. If it throws,
 * the client calls it again after growing waits, unless the error has `final: true`, which ends the
 * client.
 */
export type TokenCallback = () => string | null | undefined | Promise<string | null | undefined>;

export interface Timers {
  /** `setTimeout` and `clearTimeout`. */
  set(callback: () => void, ms: number): unknown;
  clear(handle: unknown): void;
}

export interface ClientOptions {
  /**
   * The JWT, or a function that gives one: called at each connect, before the token expires, and
   * when the server refuses it. A fixed token that is refused ends the client.
   */
  readonly token?: string | TokenCallback | null | undefined;
  /** The WebSocket class; default: the global one. Node 20 has none. */
  readonly WebSocket?: SocketClass | undefined;
  /**
   * Whether to connect only when the first channel is opened. Until then neither a WebSocket nor a
   * page is needed. Default: false.
   */
  readonly lazy?: boolean | undefined;
  /**
   * How long a live view's rows stay current after its last handle was closed, in ms, for a
   * remount. Default: 3,000.
   */
  readonly keepMs?: number | undefined;
  /**
   * Waits between attempts, in ms: full jitter over windows that double. Default: 500, at most
   * 30,000.
   */
  readonly backoff?: { readonly [Name in keyof Backoff]?: Backoff[Name] | undefined } | undefined;
  /** For tests: a number in [0, 1). Default: Math.random. */
  readonly random?: (() => number) | undefined;
  /** For tests. Default: setTimeout and clearTimeout. */
  readonly timers?: Timers | undefined;
  /** For tests: ms since 1970. Default: Date.now. */
  readonly now?: (() => number) | undefined;
}

/** What a handle asks for when it is opened. */
export interface OpenOptions {
  readonly since?: string | undefined;
  readonly waitForAccess?: boolean | undefined;
  readonly old?: boolean | undefined;
}

export interface Surroundings {
  readonly random: () => number;
  readonly timers: Timers;
  readonly now: () => number;
  readonly backoff: Backoff;
  readonly keepMs: number;
}

const KEEP_MS = 3_000;

const REAL_TIMERS: Timers = {
  set: (callback, ms) => setTimeout(callback, ms),
  clear: (handle) => clearTimeout(handle as ReturnType<typeof setTimeout>),
};

/** Maximum delay of a timer in browsers and Node, in ms (31 bits). */
export const TIMER_MS_MAX = 2 ** 31 - 1;

/** Throws `argument_invalid` for a wait that is not a number: a timer would end at once. */
export function surroundingsOf(options: ClientOptions): Surroundings {
  const { random = Math.random, now = Date.now, keepMs = KEEP_MS, timers = REAL_TIMERS } = options;
  const { baseMs = BACKOFF.baseMs, capMs = BACKOFF.capMs } = options.backoff ?? {};
  for (const ms of [baseMs, capMs, keepMs])
    if (!(ms >= 0)) throw new SnoClientError('argument_invalid', `${ms} is not a number of milliseconds.`);
  return { random, now, backoff: { baseMs, capMs }, timers, keepMs: Math.min(keepMs, TIMER_MS_MAX) };
}
