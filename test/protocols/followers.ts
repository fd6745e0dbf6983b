/**
 * Real clients of each protocol, each with what it holds of two rooms: Snö's own client, pusher-js,
 * laravel-echo and EventSource, in Node and in Chromium. They live on their own: the tests never
 * tell one of them to connect again.
 */
import { createRequire } from 'node:module';
import type { Page } from 'playwright-core';
import { WebSocket } from 'ws';
import { connect, type LiveView, type SnoClient } from '../../src/client/index.ts';
import type { StreamEvent } from '../support/event-client.ts';

export const ROOMS = ['a', 'b'] as const;
export type Room = (typeof ROOMS)[number];

/** A row in short, since rows have megabytes. */
export interface Row {
  readonly id: number;
  readonly body: string;
}
export type Short = readonly [id: number, length: number, end: string];

export interface Follower {
  readonly name: string;
  /** The rows that it holds, in any order. */
  rows(room: Room): Promise<readonly Short[]>;
  /** Whether it has been told that it may not have the room. */
  isRefused(room: Room): Promise<boolean>;
  close(): void;
}

export interface FollowerOptions {
  /** The only port that the clients know. */
  readonly port: number;
  readonly key: string;
  /** Returns a new token for the client of this name. */
  readonly issue: (name: string) => Promise<string>;
}

/** What one client holds of one room. Applied in Node and in pages, so it uses nothing else. */
interface Holder {
  apply(event: string, data: unknown): void;
  rows(): Short[];
  isRefused: boolean;
}

/** A channel of Pusher's protocol. */
function pusherHolder(): Holder {
  const rows = new Map<number, Row>();
  const holder: Holder = {
    isRefused: false,
    rows: () => [...rows.values()].map(({ id, body }) => [id, body.length, body.slice(-8)]),
    apply(event, data) {
      const {
        rows: all,
        part,
        key,
        data: row,
      } = (data ?? {}) as {
        rows: { data: Row }[];
        part: number;
        key: { id: number };
        data: Row;
      };
      if (event === 'pusher:subscription_error') holder.isRefused = true;
      if (event === 'truncate' || event === 'pusher:cache_miss' || (event === 'snapshot' && part === 1)) rows.clear();
      if (event === 'snapshot') for (const each of all) rows.set(each.data.id, each.data);
      if (event === 'insert' || event === 'update') rows.set(key.id, row);
      if (event === 'delete') rows.delete(key.id);
    },
  };
  return holder;
}

/** A channel of an event stream. */
function eventHolder(): Holder {
  const rows = new Map<unknown, Row>();
  const holder: Holder = {
    isRefused: false,
    rows: () => [...rows.values()].map(({ id, body }) => [id, body.length, body.slice(-8)]),
    apply(type, frame) {
      const { rows: all = [], part, events = [], code } = frame as StreamEvent;
      if (code === 'access_revoked' || code === 'access_denied') holder.isRefused = true;
      if (type === 'snapshot' && part === 1) rows.clear();
      if (type === 'snapshot') for (const { key, data } of all) rows.set(key['id'], data as Row);
      if (type !== 'changes') return;
      for (const { op, key, data } of events)
        if (op === 'truncate') rows.clear();
        else if (op === 'delete') rows.delete(key?.['id']);
        else rows.set(key?.['id'], data as Row);
    },
  };
  return holder;
}

const STREAM_EVENTS = ['snapshot', 'changes', 'unsubscribed', 'error'];
const query = ROOMS.map((room) => `channel=room:${room}`).join('&');

// The packages' own types ask for the libraries of a browser.
const load = createRequire(import.meta.url);
interface PusherClient {
  subscribe(name: string): { bind_global(heard: (event: string, data: unknown) => void): void };
  disconnect(): void;
}
type Answer = (error: Error | null, data: { readonly auth: string } | null) => void;
const PusherJs = load('pusher-js') as new (key: string, options: object) => PusherClient;
interface EchoChannel {
  listen(event: string, heard: (data: unknown) => void): EchoChannel;
  error(heard: () => void): EchoChannel;
}
const ECHO: string = 'laravel-echo';
const { default: Echo } = (await import(ECHO)) as {
  default: new (options: object) => { private(name: string): EchoChannel; disconnect(): void };
};
const EVENT_SOURCE: string = 'eventsource';
interface Source extends EventTarget {
  close(): void;
}
const { EventSource } = (await import(EVENT_SOURCE)) as {
  EventSource: new (url: string, options: { fetch: typeof fetch }) => Source;
};

/** All clients in Node. */
export function followInNode(options: FollowerOptions): readonly Follower[] {
  return [ownClient(options), pusherJs(options), laravelEcho(options), eventSource(options)];
}

function ownClient({ port, issue }: FollowerOptions): Follower {
  const name = 'own client, Node';
  const client: SnoClient = connect(`ws://127.0.0.1:${port}/v1`, { WebSocket, token: () => issue(name) });
  const views = new Map(ROOMS.map((room) => [room, client.live<Row>(`room:${room}`)] as const));
  const viewOf = (room: Room) => views.get(room) as LiveView<Row>;
  return {
    name,
    rows: async (room) => viewOf(room).rows.map(({ id, body }) => [id, body.length, body.slice(-8)]),
    isRefused: async (room) => viewOf(room).error?.code === 'access_revoked',
    close: () => void client.close(),
  };
}

function pusherOptions(name: string, { port, issue }: FollowerOptions): object {
  const answerWithToken = (answer: Answer) =>
    issue(name).then(
      (token) => answer(null, { auth: `jwt:${token}` }),
      (error: Error) => answer(error, null),
    );
  return {
    cluster: '',
    wsHost: '127.0.0.1',
    wsPort: port,
    forceTLS: false,
    enabledTransports: ['ws'],
    disableStats: true,
    channelAuthorization: { customHandler: (_asked: unknown, answer: Answer) => answerWithToken(answer) },
    authorizer: () => ({ authorize: (_id: string, answer: Answer) => answerWithToken(answer) }),
  };
}

function heldBy(name: string, holders: ReadonlyMap<Room, Holder>, close: () => void): Follower {
  const of = (room: Room) => holders.get(room) as Holder;
  return { name, rows: async (room) => of(room).rows(), isRefused: async (room) => of(room).isRefused, close };
}

function pusherJs(options: FollowerOptions): Follower {
  const name = 'pusher-js, Node';
  const { authorizer: _, ...own } = pusherOptions(name, options) as { authorizer: unknown };
  const pusher = new PusherJs(options.key, own);
  const holders = new Map(ROOMS.map((room) => [room, pusherHolder()] as const));
  for (const [room, holder] of holders)
    pusher.subscribe(`private-cache-room:${room}`).bind_global((event, data) => holder.apply(event, data));
  return heldBy(name, holders, () => pusher.disconnect());
}

function laravelEcho(options: FollowerOptions): Follower {
  const name = 'laravel-echo, Node';
  const { channelAuthorization: _, ...own } = pusherOptions(name, options) as { channelAuthorization: unknown };
  const echo = new Echo({ broadcaster: 'pusher', key: options.key, Pusher: PusherJs, ...own });
  const holders = new Map(ROOMS.map((room) => [room, pusherHolder()] as const));
  for (const [room, holder] of holders) {
    const channel = echo.private(`cache-room:${room}`).error(() => holder.apply('pusher:subscription_error', {}));
    for (const event of ['snapshot', 'insert', 'update', 'delete', 'truncate', 'pusher:cache_miss'])
      channel.listen(`.${event}`, (data) => holder.apply(event, data));
  }
  return heldBy(name, holders, () => echo.disconnect());
}

function eventSource({ port, issue }: FollowerOptions): Follower {
  const name = 'eventsource, Node';
  // A token of now for each request, as an app sends it.
  const withToken: typeof fetch = async (url, init) => {
    const headers = { ...(init?.headers as Record<string, string>), authorization: `Bearer ${await issue(name)}` };
    return fetch(url, { ...init, headers });
  };
  const source = new EventSource(`http://127.0.0.1:${port}/v1/events?${query}&snapshot=true`, { fetch: withToken });
  const holders = new Map(ROOMS.map((room) => [room, eventHolder()] as const));
  for (const type of STREAM_EVENTS)
    source.addEventListener(type, (event) => {
      const { data } = event as MessageEvent<string | undefined>;
      if (data === undefined) return;
      const frame = JSON.parse(data) as StreamEvent;
      holders.get(frame.channel?.replace('room:', '') as Room)?.apply(type, frame);
    });
  return heldBy(name, holders, () => source.close());
}

/** The members that pages have beside their own. */
interface PageGlobals {
  issue(name: string): Promise<string>;
  pusherHolder: typeof pusherHolder;
  eventHolder: typeof eventHolder;
  Pusher: typeof PusherJs;
  sno: { connect: typeof connect };
  cookieStore: { set(cookie: { name: string; value: string; sameSite: string }): Promise<void> };
  followers: Record<string, { rows(room: string): Short[]; isRefused(room: string): boolean }>;
}

/** The cookie that the page's app renews. */
export const COOKIE = 'session';
const COOKIE_MS = 1_000;

/** All clients in a page, which has been loaded from the port. */
export async function followInPage(page: Page, { key, issue }: FollowerOptions): Promise<readonly Follower[]> {
  await page.exposeFunction('issue', issue);
  await page.addScriptTag({ content: [pusherHolder, eventHolder].map(String).join('\n') });
  await page.addScriptTag({ type: 'module', content: "import * as sno from '/sno.js'; globalThis.sno = sno" });
  await page.waitForFunction('globalThis.sno !== undefined');
  await page.addScriptTag({ path: load.resolve('pusher-js').replace('/node/', '/web/') });
  const names = await page.evaluate(
    async ([rooms, appKey, events, search, cookie, cookieMs]) => {
      const page = globalThis as unknown as PageGlobals;
      const followers: PageGlobals['followers'] = {};
      page.followers = followers;
      const own = 'own client, Chromium';
      const client = page.sno.connect('/v1', { token: () => page.issue(own) });
      const views = new Map(rooms.map((room) => [room as string, client.live<Row>(`room:${room}`)] as const));
      followers[own] = {
        rows: (room) => (views.get(room)?.rows ?? []).map(({ id, body }) => [id, body.length, body.slice(-8)]),
        isRefused: (room) => views.get(room)?.error?.code === 'access_revoked',
      };

      const pusherName = 'pusher-js, Chromium';
      const customHandler = (_asked: unknown, answer: Answer) =>
        page.issue(pusherName).then((token) => answer(null, { auth: `jwt:${token}` }));
      const pusher = new page.Pusher(appKey, {
        cluster: '',
        wsHost: 'localhost',
        wsPort: Number(location.port),
        forceTLS: false,
        enabledTransports: ['ws'],
        channelAuthorization: { customHandler },
      });
      const held = new Map(rooms.map((room) => [room as string, page.pusherHolder()] as const));
      for (const [room, holder] of held)
        pusher.subscribe(`private-cache-room:${room}`).bind_global((event, data) => holder.apply(event, data));
      followers[pusherName] = {
        rows: (room) => held.get(room)?.rows() ?? [],
        isRefused: (room) => held.get(room)?.isRefused === true,
      };

      const sourceName = 'EventSource, Chromium';
      const renew = async () => {
        await page.cookieStore.set({ name: cookie, value: await page.issue(sourceName), sameSite: 'strict' });
      };
      await renew();
      setInterval(() => void renew(), cookieMs);
      const streamed = new Map(rooms.map((room) => [room as string, page.eventHolder()] as const));
      const source = new globalThis.EventSource(`/v1/events?${search}&snapshot=true`);
      for (const type of events)
        source.addEventListener(type, (event) => {
          const { data } = event as MessageEvent<string | undefined>;
          if (data === undefined) return;
          const frame = JSON.parse(data) as StreamEvent;
          streamed.get(frame.channel?.replace('room:', '') ?? '')?.apply(type, frame);
        });
      followers[sourceName] = {
        rows: (room) => streamed.get(room)?.rows() ?? [],
        isRefused: (room) => streamed.get(room)?.isRefused === true,
      };
      return Object.keys(followers);
    },
    [ROOMS, key, STREAM_EVENTS, query, COOKIE, COOKIE_MS] as const,
  );
  return names.map((name) => ({
    name,
    rows: (room) =>
      page.evaluate(([one, of]) => (globalThis as unknown as PageGlobals).followers[one]?.rows(of) ?? [], [
        name,
        room,
      ] as const),
    isRefused: (room) =>
      page.evaluate(([one, of]) => (globalThis as unknown as PageGlobals).followers[one]?.isRefused(of) === true, [
        name,
        room,
      ] as const),
    close: () => undefined,
  }));
}
