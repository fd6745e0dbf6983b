/** The hooks with the types of an app's channels. */
import type { ReactElement } from 'react';
import type { ChannelOptions } from '../channel.ts';
import type { TypedClient } from '../index.ts';
import type { LiveView } from '../live.ts';
import type { PresenceOptions } from '../presence/index.ts';
import type { ChannelNames, KeyOf, RowOf } from '../typed/names.ts';
import { type ChannelListeners, type ShownChannel, useChannel } from './channel.ts';
import { type LiveHookOptions, useLive, useRow } from './live.ts';
import { type ShownPresence, usePresence } from './presence.ts';
import { type ChannelArgument, type ProviderProps, SnoProvider, useSno } from './provider.ts';
import { type ShownStatus, useStatus } from './status.ts';
import type { ShownRows } from './store.ts';

/** `KeyOf` if `sno types` knows the key. Otherwise any value that `get` accepts. */
type RowKey<Channels, Name extends string> = KeyOf<Channels, Name> | Exclude<Parameters<LiveView['get']>[0], object>;

export interface Hooks<Channels> {
  readonly SnoProvider: (props: ProviderProps<TypedClient<Channels>>) => ReactElement;
  readonly useSno: () => TypedClient<Channels>;
  readonly useLive: <const Name extends ChannelNames<Channels>>(
    name: ChannelArgument<Name>,
    options?: LiveHookOptions,
  ) => ShownRows<RowOf<Channels, Name>>;
  readonly useRow: <const Name extends ChannelNames<Channels>>(
    name: ChannelArgument<Name>,
    key: RowKey<Channels, Name>,
    options?: LiveHookOptions,
  ) => RowOf<Channels, Name> | undefined;
  readonly useChannel: <const Name extends ChannelNames<Channels>>(
    name: ChannelArgument<Name>,
    listeners: ChannelListeners<RowOf<Channels, Name>>,
    options?: ChannelOptions,
  ) => ShownChannel;
  /** `Info`: what the presence view shows of a member. */
  readonly usePresence: <Info = Readonly<Record<string, unknown>>>(
    name: ChannelArgument<ChannelNames<Channels>>,
    options?: PresenceOptions,
  ) => ShownPresence<Info>;
  readonly useStatus: () => ShownStatus;
}

/**
 * Returns the hooks with the types of `Channels`, which `sno types` writes. They are the same
 * functions.
 *
 *     export const { SnoProvider, useLive, useRow } = createHooks<Channels>();
 */
export function createHooks<Channels extends object>(): Hooks<Channels> {
  return { SnoProvider, useSno, useLive, useRow, useChannel, usePresence, useStatus } as unknown as Hooks<Channels>;
}
