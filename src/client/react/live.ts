/** The hooks for the rows of a channel, or one of them, kept live. */
import { useCallback, useSyncExternalStore } from 'react';
import { SnoClientError } from '../error.ts';
import type { SnoClient } from '../index.ts';
import type { LiveOptions, LiveView } from '../live.ts';
import { type ChannelArgument, useSno } from './provider.ts';
import { type ShownRows, shownOf, storeOf, UNOPENED } from './store.ts';

export interface LiveHookOptions extends LiveOptions {
  /**
   * The component suspends until the rows are loaded. If the channel is refused before, the hook
   * throws to the nearest error boundary. Default: false.
   */
  readonly suspense?: boolean | undefined;
}

/** The rows of a channel. The component renders again after each commit and change of status. */
export function useLive<Row = unknown>(name: ChannelArgument, options: LiveHookOptions = {}): ShownRows<Row> {
  return useShown<Row, ShownRows<Row>>(name, options, (shown) => shown);
}

/**
 * One row of a channel; undefined if it is missing or not loaded yet. The component renders again
 * only when this row changes.
 */
export function useRow<Row = unknown>(
  name: ChannelArgument,
  key: Parameters<LiveView['get']>[0],
  options: LiveHookOptions = {},
): Row | undefined {
  return useShown<Row, Row | undefined>(name, options, (shown) => shown.get(key));
}

/** A part of what is shown. The component renders again only when the part changes. */
function useShown<Row, Part>(
  name: ChannelArgument,
  { suspense = false, waitForAccess }: LiveHookOptions,
  partOf: (shown: ShownRows<Row>) => Part,
): Part {
  const client = useSno();
  const subscribe = useCallback(
    (changed: () => void) => (name ? storeOf(client, name, { waitForAccess }).subscribe(changed) : () => {}),
    [client, name, waitForAccess],
  );
  const show = (): Part => partOf(name ? shownOf<Row>(client, name, { waitForAccess }) : UNOPENED);
  const part = useSyncExternalStore(subscribe, show, () => partOf(UNOPENED));
  const isServer = useIsServer();
  if (suspense && name) suspend(client, name, { waitForAccess }, isServer);
  return part;
}

const NEVER = (): (() => void) => () => {};

/** Whether this is the render on a server, or its repetition when the page hydrates. */
const useIsServer = (): boolean =>
  useSyncExternalStore(
    NEVER,
    () => false,
    () => true,
  );

/** Suspends the component until the channel has rows. */
function suspend(client: SnoClient, name: string, options: LiveOptions, isServer: boolean): void {
  if (isServer)
    throw new SnoClientError(
      'suspended_on_server',
      `The rows of ${name} load in the browser: a server shows the fallback of the nearest <Suspense>.`,
    );
  if (shownOf(client, name, options).loaded) return;
  const store = storeOf(client, name, options);
  const { refusal } = store;
  // React waits for a promise that is thrown.
  // oxlint-disable-next-line typescript/only-throw-error
  if (refusal === undefined || store.isRetired) throw store.settled();
  store.retire();
  throw refusal;
}
