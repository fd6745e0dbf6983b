/**
 * The client library, for browsers and Node. It needs nothing but a WebSocket.
 *
 *     const sno = connect('wss://example.com/v1', { token: () => fetchToken() });
 *     const tasks = sno.live<Task>('project:42');
 *     tasks.subscribe(({ rows }) => render(rows));
 */
import { type Channel, ChannelHandle, type ChannelOptions } from './channel.ts';
import { type ClientEvents, CONNECTION, Connection } from './connection.ts';
import type { SnoClientError } from './error.ts';
import { LiveHandle, type LiveOptions, type LiveView } from './live.ts';
import type { ClientOptions } from './options.ts';
import { endpoint, findSocketClass, type Target } from './platform/socket.ts';
import type { ClientStatus } from './state/machine.ts';
import type { ChannelNames, RowOf } from './typed/names.ts';

export interface SnoClient {
  readonly status: ClientStatus;
  /** Why the client waits or is closed. */
  readonly error: SnoClientError | undefined;
  /** The events of a channel. Handles of one channel share one subscription. */
  channel<Row = unknown>(name: string, options?: ChannelOptions): Channel<Row>;
  /** The rows of a channel, kept live. */
  live<Row = unknown>(name: string, options?: LiveOptions): LiveView<Row>;
  /** Returns a function that removes the listener. */
  on<Name extends keyof ClientEvents>(name: Name, listener: (event: ClientEvents[Name]) => void): () => void;
  /** Ends everything, with all timers. Resolves when the socket is closed. May be called again. */
  close(): Promise<void>;
}

/**
 * A client that knows the rows of its channels, by `connect<Channels>()` with the `Channels` that
 * `sno types` writes.
 */
export interface TypedClient<Channels> extends Omit<SnoClient, 'channel' | 'live'> {
  /** The events of a channel. Handles of one channel share one subscription. */
  channel<const Name extends ChannelNames<Channels>>(
    name: Name,
    options?: ChannelOptions,
  ): Channel<RowOf<Channels, Name>>;
  /** The rows of a channel, kept live. */
  live<const Name extends ChannelNames<Channels>>(name: Name, options?: LiveOptions): LiveView<RowOf<Channels, Name>>;
}

/**
 * Connects, and stays connected until `close()` or a fatal error.
 *
 * `url`: `wss://host/v1`, or `https://host`; in a page also relative, and by default the page's
 * host. Throws SnoClientError `url_invalid` or `websocket_missing`; with `lazy`, the first `live`
 * or `channel` does. Throws `argument_invalid` for a wait that is not a number.
 */
export function connect(url?: string | URL, options?: ClientOptions): SnoClient;
export function connect<Channels extends object>(url?: string | URL, options?: ClientOptions): TypedClient<Channels>;
export function connect(url?: string | URL, options: ClientOptions = {}): SnoClient {
  const page = (globalThis as { location?: { href: string } }).location?.href;
  const findTarget = (): Target => ({ url: endpoint(url, page), socketClass: findSocketClass(options.WebSocket) });
  const connection = new Connection(findTarget, options);
  const client: SnoClient = {
    get status() {
      return connection.status;
    },
    get error() {
      return connection.error;
    },
    channel: <Row>(name: string, options: ChannelOptions = {}): Channel<Row> => {
      const since = options.since ?? undefined;
      const want = options.snapshot === true && since === undefined ? 'snapshot' : 'events';
      return new ChannelHandle<Row>(connection, name, want).begin({ ...options, since });
    },
    live: <Row>(name: string, options: LiveOptions = {}): LiveView<Row> =>
      new LiveHandle<Row>(connection, name, 'rows').begin(options),
    on: (name, listener) => connection.events.on(name, listener),
    close: () => connection.close(),
  };
  return Object.defineProperty(client, CONNECTION, { value: connection });
}

export type { ChangeEvent, Key, SnapshotRow } from '../protocol.ts';
export type { Channel, ChannelEvents, ChannelOptions } from './channel.ts';
export { type ChannelValue, channelName } from './channel-name.ts';
export type { ClientEvents } from './connection.ts';
export { type ClientCode, SnoClientError } from './error.ts';
export type { Change, Commit, Message } from './event.ts';
export type { LiveOptions, LiveUpdate, LiveView } from './live.ts';
export type { ClientOptions, Timers, TokenCallback } from './options.ts';
export type { Socket, SocketClass } from './platform/socket.ts';
export type { CommitId, ReachedOptions } from './reached.ts';
export type { ChannelStatus, ClientResetReason, ClientStatus } from './state/machine.ts';
export type { ChannelNames, KeyOf, RowOf, ValuesOf } from './typed/names.ts';
