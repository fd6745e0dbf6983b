'use client';
/**
 * Hooks for React 18 and 19.
 *
 *     const sno = connect('wss://example.com/v1', { lazy: true });
 *     <SnoProvider client={sno}><App /></SnoProvider>
 *
 *     const { rows, status } = useLive<Task>('project:42');
 */
export { type ChannelListeners, type ShownChannel, useChannel } from './channel.ts';
export { createHooks, type Hooks } from './hooks.ts';
export { type LiveHookOptions, useLive, useRow } from './live.ts';
export { type ShownPresence, usePresence } from './presence.ts';
export { type ChannelArgument, type ProviderProps, SnoProvider, useSno } from './provider.ts';
export { type ShownStatus, useStatus } from './status.ts';
export type { ShownRows } from './store.ts';
