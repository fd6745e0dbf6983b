/**
 * The handles of each channel, and the rows that its views share.
 *
 * After the last view of a channel was closed, its rows stay current for a while: a page that
 * unmounts and mounts a view shows them at once. Until then, the state machine treats the closed
 * handle as open.
 */

import type { Timers } from './options.ts';
import { Rows } from './rows.ts';
import type { Delivery, Want } from './state/machine.ts';

/** One handle on a channel, seen from the connection. */
export interface Listener {
  readonly channel: string;
  readonly want: Want;
  hear(delivery: Delivery): void;
}

interface Topic {
  readonly handles: Set<Listener>;
  rows: Rows<unknown> | undefined;
  /** The timer after which rows without a handle are dropped. */
  kept: { readonly timer: unknown } | undefined;
}

/** Maximum channels whose rows are kept: they count among the connection's subscriptions. */
const KEPT_MAX = 50;

interface TopicsOptions {
  readonly timers: Timers;
  readonly keepMs: number;
  /** A handle is no longer needed. */
  release(channel: string, want: Want): void;
}

export class Topics {
  readonly #options: TopicsOptions;
  readonly #topics = new Map<string, Topic>();
  /** Channels whose rows are kept, the oldest first. */
  readonly #kept = new Set<string>();

  constructor(options: TopicsOptions) {
    this.#options = options;
  }

  rows(channel: string): Rows<unknown> | undefined {
    return this.#topics.get(channel)?.rows;
  }

  isUsed(channel: string): boolean {
    return (this.#topics.get(channel)?.handles.size ?? 0) > 0;
  }

  /**
   * Returns a function to call once the handle is acquired. The handle may use rows that are kept
   * without a handle; the function stops keeping them.
   */
  add(handle: Listener): () => void {
    const { channel, want } = handle;
    const topic = this.#topics.get(channel) ?? { handles: new Set(), rows: undefined, kept: undefined };
    this.#topics.set(channel, topic);
    topic.handles.add(handle);
    if (want === 'rows') topic.rows ??= new Rows();
    return () => {
      if (want === 'rows') this.drop(channel);
    };
  }

  /**
   * A handle was closed, perhaps not for the first time. `isLive`: its channel's rows are current.
   */
  remove(handle: Listener, isLive: boolean): void {
    const { channel, want } = handle;
    const topic = this.#topics.get(channel);
    if (topic === undefined || !topic.handles.delete(handle)) return;
    const isLast = want === 'rows' && ![...topic.handles].some((other) => other.want === 'rows');
    if (isLast && isLive && this.#options.keepMs > 0) this.#keep(channel, topic);
    else this.#release(channel, want);
  }

  deliver(channel: string, delivery: Delivery): void {
    const topic = this.#topics.get(channel);
    topic?.rows?.apply(delivery);
    for (const handle of [...(topic?.handles ?? [])]) handle.hear(delivery);
  }

  /** Stops keeping the channel's rows. */
  drop(channel: string): void {
    const topic = this.#topics.get(channel);
    if (topic?.kept === undefined) return;
    this.#options.timers.clear(topic.kept.timer);
    topic.kept = undefined;
    this.#kept.delete(channel);
    this.#release(channel, 'rows');
  }

  dropAll(): void {
    for (const channel of [...this.#kept]) this.drop(channel);
  }

  #keep(channel: string, topic: Topic): void {
    const { timers, keepMs } = this.#options;
    topic.kept = { timer: timers.set(() => this.drop(channel), keepMs) };
    this.#kept.add(channel);
    const [oldest] = this.#kept;
    if (this.#kept.size > KEPT_MAX && oldest !== undefined) this.drop(oldest);
  }

  #release(channel: string, want: Want): void {
    const topic = this.#topics.get(channel);
    if (topic !== undefined && topic.kept === undefined) {
      if (![...topic.handles].some((other) => other.want === 'rows')) topic.rows = undefined;
      if (topic.handles.size === 0) this.#topics.delete(channel);
    }
    this.#options.release(channel, want);
  }
}
