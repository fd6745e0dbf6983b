/** Provides the client to the hooks of a component tree. */
import { createContext, createElement, type ReactElement, type ReactNode, useContext } from 'react';
import { SnoClientError } from '../error.ts';
import type { SnoClient, TypedClient } from '../index.ts';

/** A client with or without types for its channels. */
export type AnyClient = Omit<SnoClient, 'channel' | 'live'>;

/** The name of a channel. Without a name a hook does nothing. */
export type ChannelArgument<Name extends string = string> = Name | null | undefined | false;

export interface ProviderProps<Client = AnyClient> {
  /** Create it once, outside of components: `connect(url, { lazy: true })`. */
  readonly client: Client;
  readonly children?: ReactNode;
}

const Context = createContext<SnoClient | undefined>(undefined);

export function SnoProvider({ client, children }: ProviderProps): ReactElement {
  return createElement(Context.Provider, { value: client as SnoClient }, children);
}

/** The client of the nearest `SnoProvider`. Throws `provider_missing`. */
export function useSno(): SnoClient;
export function useSno<Channels extends object>(): TypedClient<Channels>;
export function useSno(): SnoClient {
  const client = useContext(Context);
  if (client !== undefined) return client;
  throw new SnoClientError('provider_missing', 'This hook needs a <SnoProvider client={...}> above its component.');
}
