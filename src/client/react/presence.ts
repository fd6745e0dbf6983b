/** The hook for the members of a channel, kept live. */
import { useCallback, useSyncExternalStore } from 'react';
import type { SnoClient } from '../index.ts';
import { type Member, type Presence, type PresenceOptions, presence } from '../presence/index.ts';
import { type ChannelArgument, useSno } from './provider.ts';
import { type HandleStatus, SharedStore, Stores } from './shared.ts';

/** What a component shows of a channel's members. The object changes when its content does. */
export interface ShownPresence<Info = Readonly<Record<string, unknown>>> extends HandleStatus {
  /** The same array until the members change, and a member is the same object until it changes. */
  readonly members: readonly Member<Info>[];
}

/** Shown before the channel is opened, and on a server. */
const UNOPENED: ShownPresence<never> = { members: [], status: 'connecting', error: undefined };

const STORES = new Stores<PresenceStore>();

/**
 * Appears in a channel for as long as the component is mounted, and shows its members. With `watch`
 * it shows them only. The component renders again after each change of members and of status.
 */
export function usePresence<Info = Readonly<Record<string, unknown>>>(
  name: ChannelArgument,
  { watch = false, waitForAccess = false }: PresenceOptions = {},
): ShownPresence<Info> {
  const client = useSno();
  const subscribe = useCallback(
    (changed: () => void) => (name ? storeOf(client, name, { watch, waitForAccess }).subscribe(changed) : () => {}),
    [client, name, watch, waitForAccess],
  );
  const show = (): ShownPresence =>
    (name ? STORES.find(client, keyOf(name, { watch, waitForAccess }))?.shown : undefined) ?? UNOPENED;
  return useSyncExternalStore(subscribe, show, () => UNOPENED) as ShownPresence<never> as ShownPresence<Info>;
}

const keyOf = (name: string, { watch, waitForAccess }: PresenceOptions): string =>
  `${watch === true ? '?' : ''}${waitForAccess === true ? '!' : ''}${name}`;

function storeOf(client: SnoClient, name: string, options: PresenceOptions): PresenceStore {
  return STORES.open(
    client,
    keyOf(name, options),
    (forget) => new PresenceStore(() => presence(client, name, options), forget),
  );
}

class PresenceStore extends SharedStore<Presence, ShownPresence> {
  protected override read(): ShownPresence {
    return { members: this.handle?.members ?? [], ...this.status };
  }
}
