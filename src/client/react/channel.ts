/** The hook for a channel's events. */
import { useEffect, useMemo, useRef, useSyncExternalStore } from 'react';
import type { Channel, ChannelEvents, ChannelOptions } from '../channel.ts';
import { isSnoClientError, type SnoClientError } from '../error.ts';
import type { ChannelStatus } from '../state/machine.ts';
import { type ChannelArgument, useSno } from './provider.ts';

/** Listeners for a channel's events, by the names of the events. */
export type ChannelListeners<Row = unknown> = {
  readonly [Name in keyof ChannelEvents<Row>]?: ((event: ChannelEvents<Row>[Name]) => void) | undefined;
};

export interface ShownChannel {
  readonly status: ChannelStatus;
  /** Why the status is `error` or `closed`. */
  readonly error: SnoClientError | undefined;
}

const EVENTS = ['change', 'message', 'snapshot', 'reset', 'position', 'status'] as const;
const UNOPENED: ShownChannel = { status: 'connecting', error: undefined };

/**
 * Calls the listeners at a channel's events, for as long as the component is mounted. The listeners
 * of the latest render are called, so they may be written in the component.
 */
export function useChannel<Row = unknown>(
  name: ChannelArgument,
  listeners: ChannelListeners<Row>,
  { snapshot, since, waitForAccess, old }: ChannelOptions = {},
): ShownChannel {
  const client = useSno();
  const latest = useRef(listeners);
  useEffect(() => {
    latest.current = listeners;
  });
  const store = useMemo(() => {
    const open = (): Channel<Row> | undefined =>
      name ? client.channel<Row>(name, { snapshot, since, waitForAccess, old }) : undefined;
    return new ChannelStore(open, () => latest.current);
  }, [client, name, snapshot, since, waitForAccess, old]);
  return useSyncExternalStore(store.subscribe, store.show, () => UNOPENED);
}

/** Opens the channel when React subscribes, and closes it when React unsubscribes. */
class ChannelStore<Row> {
  readonly #open: () => Channel<Row> | undefined;
  readonly #listeners: () => ChannelListeners<Row>;
  #shown = UNOPENED;

  constructor(open: () => Channel<Row> | undefined, listeners: () => ChannelListeners<Row>) {
    this.#open = open;
    this.#listeners = listeners;
  }

  readonly show = (): ShownChannel => this.#shown;

  readonly subscribe = (changed: () => void): (() => void) => {
    const show = ({ status, error }: ShownChannel): void => {
      this.#shown = { status, error };
      changed();
    };
    try {
      const channel = this.#open();
      if (channel === undefined) return () => {};
      for (const name of EVENTS) this.#forward(channel, name);
      channel.on('status', () => show(channel));
      show(channel);
      return () => channel.close();
    } catch (error) {
      if (!isSnoClientError(error)) throw error;
      show({ status: error.code === 'closed' ? 'closed' : 'error', error });
      return () => {};
    }
  };

  #forward<Name extends keyof ChannelEvents<Row>>(channel: Channel<Row>, name: Name): void {
    channel.on(name, (event) => this.#listeners()[name]?.(event));
  }
}
