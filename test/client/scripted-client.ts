/** A scripted server for each test, the clients of the test, and frames of one channel. */
import { afterEach, beforeEach } from 'vitest';
import { type ClientOptions, connect, type LiveView, type SnoClient } from '../../src/client/index.ts';
import type { ChangeEvent, ChangesFrame, SnapshotFrame } from '../../src/protocol.ts';
import { type Peer, ScriptedServer } from './scripted-server.ts';

export interface Task {
  readonly id: number;
  readonly title: string;
}

/** A live view, its client, and its connection from the server's side. */
interface LiveScene {
  readonly client: SnoClient;
  readonly view: LiveView<Task>;
  readonly peer: Peer;
}

export interface Scene {
  readonly server: ScriptedServer;
  /** Connects a client, by default to the server. It is closed after the test. */
  start(options?: ClientOptions & { readonly url?: string }): SnoClient;
  /** A live view at position p1 with one row, and the connection that it uses. */
  liveView(options?: ClientOptions): Promise<LiveScene>;
  /** Like `liveView`, over the server's nth connection. */
  liveViewOf(nth: number, options: ClientOptions): Promise<LiveScene>;
}

export const CHANNEL = 'project:42';
const QUICK = { baseMs: 1, capMs: 5 };

/** Starts a server before each test of the file, and ends it afterwards with all clients. */
export function scripted(): Scene {
  let server: ScriptedServer;
  let clients: SnoClient[];

  beforeEach(async () => {
    server = await ScriptedServer.start();
    clients = [];
  });

  afterEach(async () => {
    for (const client of clients) await client.close();
    await server.stop();
  });

  function start({ url = server.url, ...options }: ClientOptions & { readonly url?: string } = {}): SnoClient {
    const client = connect(url, { WebSocket: server.WebSocket, backoff: QUICK, ...options });
    clients.push(client);
    return client;
  }

  async function liveViewOf(nth: number, options: ClientOptions): Promise<LiveScene> {
    const client = start(options);
    const view = client.live<Task>(CHANNEL);
    const peer = await server.peer(nth);
    await peer.heard('subscribe');
    peer.welcome();
    peer.say(snapshot(['one']), subscribed('p1'));
    await view.ready;
    return { client, view, peer };
  }

  return {
    get server() {
      return server;
    },
    start,
    liveView: (options = {}) => liveViewOf(0, options),
    liveViewOf,
  };
}

export const put = (op: 'insert' | 'update', id: number, title: string): ChangeEvent<Task> => ({
  op,
  key: { id },
  data: { id, title },
});

export const changes = (
  position: string,
  events: readonly ChangeEvent[],
  more: Partial<ChangesFrame> = {},
): ChangesFrame => ({
  type: 'changes',
  channel: CHANNEL,
  position,
  lsn: '0/1',
  xid: 7,
  committed_at: '2026-11-23T10:00:00.123456Z',
  events,
  ...more,
});

export const snapshot = (titles: readonly string[], part = 1, last = true, firstId = 1): SnapshotFrame<Task> => ({
  type: 'snapshot',
  channel: CHANNEL,
  rows: titles.map((title, index) => ({ key: { id: firstId + index }, data: { id: firstId + index, title } })),
  part,
  last,
});

export const subscribed = (position: string, more: { recovered?: boolean } = {}) =>
  ({ type: 'subscribed', channel: CHANNEL, position, ...more }) as const;

export const titlesOf = (rows: readonly Task[]): string[] => rows.map(({ title }) => title);
