/** The admin API of a running service: in one process, and with workers. */
import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type {
  ActiveChannels,
  ChannelInfo,
  ChannelViews,
  Connections,
  DisconnectAnswer,
  EffectiveSettings,
  Explanation,
  FrameLine,
  Health,
  Incidents,
  Processes,
  Rates,
  Session,
  Slot,
} from '../../src/admin/api/types.ts';
import { RawClient } from '../service/raw-client.ts';
import { type Stage, stage } from '../service/stage.ts';
import { EventClient } from '../support/event-client.ts';
import { signToken } from '../support/service.ts';
import { until } from '../support/wait.ts';

const SCHEMA = `
  create table notes (id int primary key, room int not null, body text not null);
  alter table notes replica identity full;
  create table members (room int, sub text, primary key (room, sub));
  insert into members select 1, 'u' || n from generate_series(1, 4) n;
  insert into members values (2, 'u1');
  create schema channels; create schema if not exists channel_access;
  create view channels."room:{room}" as select id, room, body from notes;
  create view channel_access."room:{room}" as select room, sub from members;
  create schema if not exists channel_presence; create schema if not exists channel_send;
  create view channel_presence."room:{room}" as select room, sub from members;
  create view channel_send."room:{room}" as select room, sub from members where sub = 'u1';
`;
const TOKEN = 'a.token.of.the.admin';
const SETTINGS = { SNO_ACCESS: 'views' };

describe.each([
  ['one process', { ...SETTINGS, SNO_ADMIN_TOKEN: TOKEN }],
  ['two workers', { ...SETTINGS, SNO_WORKERS: '2' }],
] as const)('the admin API of %s', (name, settings) => {
  let here: Stage;
  const isSplit = name === 'two workers';
  const clients: RawClient[] = [];
  beforeAll(async () => {
    here = await stage(SCHEMA, settings);
  });
  afterAll(async () => {
    for (const client of clients) client.cut();
    await here.end();
  });

  const OWN = isSplit ? { 'x-sno-admin': '1' } : { authorization: `Bearer ${TOKEN}` };
  async function ask(path: string, headers: Record<string, string> = OWN, body?: unknown) {
    const method = body === undefined ? 'GET' : 'POST';
    const port = here.service.adminPort;
    const call = request({
      host: '127.0.0.1',
      port,
      path,
      method,
      headers: { ...headers, 'content-type': 'application/json' },
    });
    call.end(body === undefined ? undefined : JSON.stringify(body));
    const [response] = (await once(call, 'response')) as [IncomingMessage];
    let text = '';
    for await (const chunk of response) text += chunk;
    return { status: response.statusCode ?? 0, headers: response.headers, text };
  }
  async function get<Answer>(path: string, body?: unknown): Promise<Answer> {
    const { status, text } = await ask(`/api/${path}`, OWN, body);
    if (status !== 200) throw new Error(`${path}: ${status} ${text}`);
    return JSON.parse(text) as Answer;
  }
  /** Without compression: compressed, much would fit into the buffers of a paused socket. */
  async function follower(n: number): Promise<RawClient> {
    const client = await RawClient.open(here.service, await signToken({ sub: `u${n}` }), false);
    clients.push(client);
    const answer = await client.subscribe('room:1');
    if (answer.type !== 'subscribed') throw new Error(JSON.stringify(answer));
    return client;
  }

  test('requests that may not ask are refused, and no answer has a secret', async () => {
    if (isSplit) {
      expect((await ask('/api/session', { host: 'evil.example' })).status).toBe(421);
      expect((await ask('/api/explain', {}, { channel: 'room:1' })).status).toBe(403);
      expect((await ask('/%61pi/explain', {}, { channel: 'room:1' })).status).toBe(403);
      expect((await ask('/api/health', { origin: 'http://evil.example' })).status).toBe(403);
      expect((await ask('/api/channel/frames?name=room:1&values=true', {})).status).toBe(403);
    } else {
      const paths = ['session', 'health', 'rates', 'slot', 'channels', 'settings', 'incidents', 'channel/frames'];
      for (const path of [...paths.map((each) => `/api/${each}`), '/api/nothing', '/%61pi/settings', '/metrics'])
        expect([path, (await ask(path, {})).status]).toEqual([path, 401]);
      expect((await ask('/api/explain', { 'x-sno-admin': '1' }, { channel: 'room:1' })).status).toBe(401);
    }
    const page = await ask('/', {});
    expect([page.status, page.headers['content-type']]).toEqual([200, 'text/html; charset=utf-8']);
    expect(page.headers['content-security-policy']).toMatch(/^default-src 'none'; script-src 'self';/);
    expect((await ask('/app.js', {})).status).toBe(200);
    const invalid = await ask('/api/channels?limit=1000');
    expect([invalid.status, JSON.parse(invalid.text)]).toEqual([
      400,
      { code: 'admin_request_invalid', message: expect.stringContaining('limit must be') },
    ]);
    expect((await ask('/api/explain', OWN, { channel: 'x'.repeat(200_000) })).status).toBeGreaterThanOrEqual(400);
    expect(invalid.headers['cache-control']).toBe('no-store');
    const { settings: shown } = await get<EffectiveSettings>('settings');
    expect(shown.find(({ name: each }) => each === 'SNO_JWT_SECRET')).toMatchObject({
      value: '(set)',
      isSecret: true,
      source: 'environment',
    });
    const texts = await Promise.all(
      ['session', 'health', 'slot', 'channels', 'connections', 'incidents', 'settings', 'processes'].map(
        async (path) => (await ask(`/api/${path}`)).text,
      ),
    );
    expect(texts.join()).not.toMatch(/thirty-two bytes|a\.token\.of|postgres:\/\/[^"]*:[^"]*@/);
    expect(await get<Session>('session')).toMatchObject({
      authorization: isSplit ? 'loopback' : 'token',
      workers: isSplit ? 2 : 0,
      role: 'all',
    });
  });

  test('connections, subscribers and views are those that there are', async () => {
    for (const n of [1, 2, 3]) await follower(n);
    await here.query("insert into notes values (1, 1, 'hello')");
    for (const client of clients) await client.until('the note', () => client.events('room:1').length > 0);
    const all = await get<Connections>('connections');
    expect(all).toMatchObject({ total: 3, open: 3, slow: 0, silentWorkers: [] });
    expect(all.connections.map(({ user }) => user).sort()).toEqual(['u1', 'u2', 'u3']);
    expect(all.connections[0]).toMatchObject({
      protocol: 'ws',
      behindFrames: 0,
      subscriptions: 1,
      channels: [{ name: 'room:1', state: 'live' }],
    });
    expect(new Set(all.connections.map(({ worker }) => worker))).toEqual(new Set(isSplit ? [1, 2] : [null]));
    const [first, second] = await Promise.all(
      [0, 2].map((offset) => get<Connections>(`connections?limit=2&offset=${offset}`)),
    );
    expect([first?.connections.length, second?.connections.length]).toEqual([2, 1]);
    expect((await get<Connections>('connections?search=U2')).connections.map(({ user }) => user)).toEqual(['u2']);
    expect((await get<Connections>('connections?channel=room:2')).total).toBe(0);
    const channel = await get<ChannelInfo>('channel?name=room:1');
    expect(channel).toMatchObject({
      pattern: 'room:{room}',
      subscriberCount: 3,
      window: { entries: 1 },
      problem: null,
    });
    expect(channel.subscribers.map(({ state }) => state)).toEqual(['live', 'live', 'live']);
    expect(await get<ChannelInfo>('channel?name=nothing')).toMatchObject({ problem: { code: 'channel_unknown' } });
    const { views } = await get<ChannelViews>('channels?search=room');
    expect(views).toEqual([
      expect.objectContaining({
        pattern: 'room:{room}',
        state: 'served',
        path: expect.objectContaining({ kind: 'in process' }),
        tables: ['public.notes'],
        access: { claims: [{ name: 'sub', type: 'text' }] },
        presence: { claims: [{ name: 'sub', type: 'text' }] },
        send: { claims: [{ name: 'sub', type: 'text' }] },
        // With workers, both have subscribers of the one channel.
        channels: 1,
        isChannelCountExact: true,
        subscribers: 3,
      }),
    ]);
    await until(async () => {
      const [view] = (await get<ChannelViews>('channels?search=room')).views;
      return view?.events?.total === 1 && view.lastEventAt !== null;
    }, 'the event is counted');
  });

  test('members of a channel and the active channels of a pattern are those of all processes', async () => {
    const [first, second] = clients as [RawClient, RawClient];
    await first.subscribe('room:2');
    for (const client of [first, second]) {
      client.send({ type: 'unsubscribe', channel: 'room:1' });
      await client.wait('unsubscribed', 0, ({ type }) => type === 'unsubscribed');
      await client.subscribe('room:1', { presence: true });
    }
    const found = await until(async () => {
      const now = await get<ChannelInfo>('channel?name=room:1');
      return now.members?.count === 2 && now;
    }, 'both are members');
    expect(found.members?.ids.toSorted()).toEqual(['u1', 'u2']);
    expect(await get<ActiveChannels>(`channels/active?pattern=${encodeURIComponent('room:{room}')}`)).toEqual({
      pattern: 'room:{room}',
      channels: [
        { name: 'room:1', subscribers: 3, members: 2 },
        { name: 'room:2', subscribers: 1, members: 0 },
      ],
      isComplete: true,
    });
    const cut = await get<ActiveChannels>(`channels/active?limit=1&pattern=${encodeURIComponent('room:{room}')}`);
    expect(cut).toMatchObject({ channels: [{ name: 'room:1' }], isComplete: false });
    expect((await get<ChannelViews>('channels?search=NOTES')).views.map(({ pattern }) => pattern)).toEqual([
      'room:{room}',
    ]);
    first.send({ type: 'unsubscribe', channel: 'room:2' });
    await until(
      async () => (await get<ChannelViews>('channels?search=room')).views[0]?.subscribers === 3,
      'it has left',
    );
  });

  test('rates have a sample with what happened since', async () => {
    await get<Rates>('rates');
    await here.query("insert into notes select n, 1, 'x' from generate_series(10, 19) n");
    const rows = (samples: Rates['samples']) =>
      Math.round(samples.reduce((sum, sample) => sum + sample.rows * sample.spanSeconds, 0));
    const found = await until(async () => {
      const { samples } = await get<Rates>('rates');
      return rows(samples) >= 10 && samples;
    }, 'samples have the rows');
    expect(found.at(-1)).toMatchObject({ connections: 3, subscriptions: 3 });
    expect(rows(found)).toBeLessThanOrEqual(11);
  });

  test('the frames of a channel arrive, with values only if they are asked for', async () => {
    const follow = async (path: string) => {
      const call = request({ host: '127.0.0.1', port: here.service.adminPort, path, headers: OWN });
      call.end();
      const [response] = (await once(call, 'response')) as [IncomingMessage];
      const lines: FrameLine[] = [];
      let rest = '';
      response.setEncoding('utf8').on('data', (text: string) => {
        const parts = (rest + text).split('\n');
        rest = parts.pop() ?? '';
        for (const part of parts) lines.push(JSON.parse(part) as FrameLine);
      });
      response.on('error', () => undefined);
      return { lines, status: response.statusCode, end: () => call.destroy() };
    };
    const hidden = await follow('/api/channel/frames?name=room:1');
    const shown = await follow('/api/channel/frames?name=room:1&values=true');
    await here.query("insert into notes values (100, 1, 'a secret text')");
    for (const { lines } of [hidden, shown])
      await until(
        () => lines.some((line) => line.kind === 'frame' && line.count === 1 && line.xid !== null),
        'a frame',
      );
    await until(() => JSON.stringify(shown.lines).includes('a secret text'), 'the text');
    await until(
      () =>
        hidden.lines.filter(({ kind }) => kind === 'frame').length ===
        shown.lines.filter(({ kind }) => kind === 'frame').length,
      'both have all frames',
    );
    expect(JSON.stringify(hidden.lines)).not.toContain('a secret text');
    expect(JSON.stringify(hidden.lines)).toContain('"columns":["id","room","body"]');
    hidden.end();
    shown.end();
    // More than there may be at a time: each that its reader leaves makes room.
    for (let count = 0; count < 15; count++) {
      const left = await until(async () => {
        const each = await follow('/api/channel/frames?name=room:1');
        if (each.status === 200) return each;
        each.end();
        return undefined;
      }, 'there is room for a stream');
      left.end();
    }
  });

  test('an explanation and a denial name the reason', async () => {
    const stranger = await RawClient.open(here.service, await signToken({ sub: 'u9' }));
    clients.push(stranger);
    expect(await stranger.subscribe('room:1')).toMatchObject({ type: 'error', code: 'access_denied' });
    const answer = await get<Explanation>('explain', { channel: 'room:1', token: await signToken({ sub: 'u9' }) });
    expect(answer).toMatchObject({ verdict: 'refused', token: { state: 'verified' } });
    expect(answer.summary).toContain('sub = "u9"');
    expect(answer.needed[0]?.remedy?.text).toBe("insert into public.members (room, sub) values ('1', 'u9');");
    const { incidents } = await get<Incidents>('incidents?kind=denial');
    expect(incidents.find(({ code }) => code === 'access_denied')).toMatchObject({ channel: 'room:1', count: 1 });
  });

  test('a client that does not read comes first, with what waits for it', async () => {
    clients[0]?.pause();
    let rows = 200;
    // Its socket takes some rows before it is full.
    await until(async () => {
      await here.query("insert into notes values ($1, 1, repeat('x', 2000000))", [++rows]);
      const { slow, connections } = await get<Connections>('connections?limit=1');
      const { causes } = await get<Health>('health');
      const [first] = connections;
      const isFirst = slow > 0 && first?.user === 'u1' && first.waitingBytes > 0;
      return isFirst && causes.some(({ code }) => code === 'clients_slow');
    }, 'it is slow, and that is a notice');
    clients[0]?.resume();
    await until(async () => (await get<Connections>('connections')).slow === 0, 'it has read all');
    await here.query('delete from notes where id > 200');
  });

  /** Disconnects, and expects the answer to say so. On a busy machine a worker may answer late. */
  async function disconnect(connection: string): Promise<void> {
    const { isDisconnected, silentWorkers } = await get<DisconnectAnswer>('connections/disconnect', { connection });
    expect(isDisconnected || silentWorkers.length > 0).toBe(true);
  }

  test('a connection is disconnected by its id, with close code 1001', async () => {
    const { id } = await until(
      async () => (await get<Connections>('connections?search=u3')).connections[0],
      'the connection is shown',
    );
    await disconnect(id);
    expect(await clients[2]?.closed).toBe(1001);
    await until(async () => (await get<Connections>('connections?search=u3')).total === 0, 'it is gone');
    const again = await until(async () => {
      const answer = await get<DisconnectAnswer>('connections/disconnect', { connection: id });
      return answer.silentWorkers.length === 0 && answer;
    }, 'all workers answer');
    expect(again).toEqual({ isDisconnected: false, silentWorkers: [] });
  });

  test('an event stream is a connection too', async () => {
    const { port, certificate } = here.service;
    const stream = await EventClient.open(`https://localhost:${port}/v1/events?channel=room:1`, {
      ca: certificate.cert,
      headers: { authorization: `Bearer ${await signToken({ sub: 'u4' })}` },
    });
    const found = await until(async () => {
      const { connections } = await get<Connections>('connections?search=u4');
      return connections[0]?.channels[0]?.state === 'live' && connections[0];
    }, 'it is live');
    expect(found).toMatchObject({
      protocol: 'sse',
      channels: [{ name: 'room:1' }],
      tokenExpiresAt: expect.any(Number),
    });
    expect(found.sentBytes).toBeGreaterThan(0);
    await disconnect(found.id);
    await until(() => stream.isEnded, 'it has ended');
  });

  test('an open transaction and a refused view are causes, with what ends them', async () => {
    const holder = await here.database.connect();
    await holder.query('begin; create table held (id int)');
    const pid = Number((await holder.query('select pg_backend_pid() as pid')).rows[0]?.['pid']);
    const slot = await until(async () => {
      const now = await get<Slot>('slot');
      return now.transactions.some((each) => each.pid === pid) && now;
    }, 'the slot shows the transaction');
    expect(slot).toMatchObject({ isActive: true, level: 'fine', problem: null, status: 'reserved' });
    expect(slot.transactions.find((each) => each.pid === pid)?.remedy.text).toBe(
      `select pg_terminate_backend(${pid});`,
    );
    await holder.end();
    await here.query('create view channels."bad:{room}" as select room, count(*) as n from notes group by room');
    const health = await until(async () => {
      const now = await get<Health>('health');
      return now.causes.some(({ code }) => code === 'channel_refused') && now;
    }, 'the refusal is a cause');
    expect(health.verdict).toBe('degraded');
    const { views } = await get<ChannelViews>('channels?search=bad');
    expect(views[0]).toMatchObject({ state: 'refused', refusals: [{ message: expect.stringContaining('^^^') }] });
    await here.query('drop view channels."bad:{room}"');
  });

  test('the processes are this one and its workers; a frozen worker is silent', async () => {
    const { processes, machine } = await get<Processes>('processes');
    expect(processes.map(({ kind, state }) => [kind, state])).toEqual([
      ['main', 'serving'],
      ...(isSplit
        ? [
            ['worker', 'serving'],
            ['worker', 'serving'],
          ]
        : []),
    ]);
    expect(machine).toMatchObject({ isIngesting: true, role: 'all', relay: null, holder: { pid: expect.any(Number) } });
    for (const each of processes) expect(each.rssBytes).toBeGreaterThan(10_000_000);
    if (!isSplit) return;
    const frozen = processes[2]?.pid as number;
    process.kill(frozen, 'SIGSTOP');
    try {
      await until(async () => {
        const now = await get<Processes>('processes');
        return now.processes.some(({ pid, state }) => pid === frozen && state === 'silent');
      }, 'the worker is silent');
      expect((await get<Connections>('connections')).silentWorkers).toEqual([2]);
      // A worker that is silent may have the connection.
      const answer = await get<DisconnectAnswer>('connections/disconnect', { connection: 'unknown' });
      expect(answer).toEqual({ isDisconnected: false, silentWorkers: [2] });
    } finally {
      process.kill(frozen, 'SIGCONT');
    }
  });
});
