/** The hook for the status of the connection. */
import { useCallback, useSyncExternalStore } from 'react';
import type { SnoClientError } from '../error.ts';
import type { SnoClient } from '../index.ts';
import type { ClientStatus } from '../state/machine.ts';
import { useSno } from './provider.ts';

export interface ShownStatus {
  readonly status: ClientStatus;
  /** Why the client waits or is closed. */
  readonly error: SnoClientError | undefined;
}

const ON_SERVER: ShownStatus = { status: 'idle', error: undefined };
/** The last status shown of each client: React needs the same object until something changes. */
const SHOWN = new WeakMap<SnoClient, ShownStatus>();

/** The status of the client, and why it waits or is closed. */
export function useStatus(): ShownStatus {
  const client = useSno();
  const subscribe = useCallback((changed: () => void) => client.on('status', changed), [client]);
  return useSyncExternalStore(
    subscribe,
    () => shownOf(client),
    () => ON_SERVER,
  );
}

function shownOf(client: SnoClient): ShownStatus {
  const { status, error } = client;
  const last = SHOWN.get(client);
  if (last?.status === status && last.error?.code === error?.code && last.error?.message === error?.message)
    return last;
  const shown = { status, error };
  SHOWN.set(client, shown);
  return shown;
}
