/** Sends and presence, in one process: what subscribers receive, and what views decide. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { connect } from '../../src/client/index.ts';
import { presence, send } from '../../src/client/presence/index.ts';
import { EventClient } from '../support/event-client.ts';
import { signToken } from '../support/service.ts';
import { until } from '../support/wait.ts';
import { RawClient } from './raw-client.ts';
import { enter, hasSeenLeave, membersOf, ROOM, ROOM_SETTINGS, sentTo, shows } from './room.ts';
import { readMetric, type Stage, stage } from './stage.ts';

const MORE = `
  create view channel_access."plain:{room}" as select room, sub from members;
  create view channel_send."talk:{room}" as select room from members;
  create view channel_access."talk:{room}" as select room from members;
`;

let here: Stage;
let ada: RawClient;
beforeAll(async () => {
  here = await stage(ROOM + MORE, { ...ROOM_SETTINGS, SNO_MAX_FRAME_BYTES: '1MB' });
  ada = await enter(here.service, 'ada');
});
afterAll(async () => {
  ada?.cut();
  await here?.end();
});

test('a send reaches the other subscribers with its sender, after what was committed before, and is not replayed', async () => {
  const bob = await enter(here.service, 'bob', {});
  const from = bob.frames.length;
  await here.query('insert into notes values (1, 1)');
  const { position } = await bob.wait('the row', from, ({ type }) => type === 'changes');
  bob.send({ type: 'send', channel: 'room:1', event: 'own' });
  const texts = bob.texts();
  const data = '{"n":12345678901234567890,"t":"ä"}';
  ada.sendText(`{"type":"send","channel":"room:1","data":${data},"event":"typing"}`);
  const frames = await sentTo(bob, ada, from);
  expect(frames.map(({ type }) => type)).toEqual(['changes', 'message']);
  expect(texts.at(-2)).toBe(`{"type":"message","channel":"room:1","from":"ada","event":"typing","data":${data}}`);
  bob.send({ type: 'unsubscribe', channel: 'room:1' });
  expect(await bob.subscribe('room:1', { since: position as string })).toMatchObject({ recovered: true });
  expect((await sentTo(bob, ada, bob.frames.length)).length).toBe(0);
  expect(await readMetric(here.service, 'sno_sends_total')).toBeGreaterThanOrEqual(4);
  bob.cut();
});

test('sends right after a subscribe wait for the subscription; without a token, `from` is null', async () => {
  const listener = await enter(here.service, 'cy', {}, 'talk:1');
  const client = await RawClient.open(here.service);
  client.send({ type: 'subscribe', channel: 'talk:1' });
  client.send({ type: 'send', channel: 'talk:1', event: 'one', data: 1 });
  client.send({ type: 'send', channel: 'talk:1', event: 'two' });
  await listener.wait('two', 0, ({ event }) => event === 'two');
  const messages = listener.frames.filter(({ type }) => type === 'message');
  expect(messages.map(({ from, event, data, position }) => [from, event, data, position])).toEqual([
    [null, 'one', 1, undefined],
    [null, 'two', null, undefined],
  ]);
  client.cut();
  listener.cut();
});

test('the send view decides, and a commit that takes the right away counts at once', async () => {
  const cy = await enter(here.service, 'cy', {});
  const answerTo = async (event: string, channel = 'room:1') => {
    const from = cy.frames.length;
    cy.send({ type: 'send', channel, event });
    cy.send({ type: 'ping' });
    await cy.wait('the answer', from, ({ type, code }) => type === 'heartbeat' || code !== undefined);
    return cy.frames.slice(from).find(({ type }) => type === 'error')?.code;
  };
  expect(await answerTo('first')).toBeUndefined();
  await ada.wait('first', 0, ({ event }) => event === 'first');
  await here.query(`begin; update members set sends = false where sub = 'cy'; insert into notes values (2, 1); commit`);
  await cy.wait('the commit', 0, ({ events }) => events?.[0]?.key?.['id'] === 2);
  const from = cy.frames.length;
  cy.send({ type: 'send', channel: 'room:1', event: 'second' });
  expect(await cy.wait('the refusal', from, ({ type }) => type === 'error')).toMatchObject({ code: 'send_denied' });
  await here.query(`update members set sends = true where sub = 'cy'`);
  cy.send({ type: 'send', channel: 'room:1', event: 'third' });
  await ada.wait('third', 0, ({ event }) => event === 'third');
  expect(ada.frames.some(({ event }) => event === 'second')).toBe(false);
  expect(await answerTo('x', 'room:2')).toBe('not_subscribed');
  await cy.subscribe('plain:1');
  const start = cy.frames.length;
  cy.send({ type: 'send', channel: 'plain:1', event: 'x' });
  expect(await cy.wait('the refusal', start, ({ type }) => type === 'error')).toMatchObject({
    code: 'send_undeclared',
  });
  cy.cut();
});

/** Arrays within arrays. */
const nested = (depth: number) => JSON.parse(`${'['.repeat(depth)}${']'.repeat(depth)}`) as unknown;

test('too many sends, and invalid ones, are refused; the connection stays', async () => {
  const dan = await enter(here.service, 'dan', {});
  const from = dan.frames.length;
  for (let n = 0; n < 50; n++) dan.send({ type: 'send', channel: 'room:1', event: `burst ${n}` });
  const refused = () => dan.frames.slice(from).filter(({ code }) => code === 'too_many_sends').length;
  const arrived = () => ada.frames.filter(({ event }) => event?.startsWith('burst')).length;
  await dan.wait('a refusal', from, ({ code }) => code === 'too_many_sends');
  await dan.heartbeat();
  await ada.until('the others', () => arrived() === 50 - refused());
  expect(arrived()).toBeGreaterThanOrEqual(10);
  dan.cut();
  const eve = await enter(here.service, 'eve', {});
  for (const event of ['', 'x'.repeat(256), 'a\nb']) eve.send({ type: 'send', channel: 'room:1', event });
  await eve.until('three refusals', () => eve.frames.filter(({ code }) => code === 'send_invalid').length === 3);
  eve.send({ type: 'send', channel: 'room:1', event: 'large', data: 'x'.repeat(65_536) });
  await eve.until('a fourth', () => eve.frames.filter(({ code }) => code === 'send_invalid').length === 4);
  eve.send({ type: 'send', channel: 'room:1', event: 'deep', data: nested(501) });
  await eve.until('a fifth', () => eve.frames.filter(({ code }) => code === 'send_invalid').length === 5);
  eve.send({ type: 'send', channel: 'room:1', event: 'deep enough', data: nested(500) });
  await ada.wait('what is allowed', 0, ({ event }) => event === 'deep enough');
  for (const limit of ['send_rate', 'send_bytes'])
    expect(await readMetric(here.service, `sno_limits_met_total{limit="${limit}"}`)).toBeGreaterThan(0);
  eve.send({ type: 'send', channel: 'room:1' });
  expect(await eve.closed).toBe(4400);
});

test('members join and leave once, however many connections they have; a reload of the page is not a leave', async () => {
  await shows(ada, 'ada');
  const texts = ada.texts();
  const bob = await enter(here.service, 'bob');
  await shows(bob, 'ada', 'bob');
  expect(bob.frames.find(({ type }) => type === 'presence')).toMatchObject({
    channel: 'room:1',
    members: expect.arrayContaining([{ id: 'bob', info: { name: 'BOB', big: expect.anything() } }]),
  });
  await shows(ada, 'ada', 'bob');
  expect(texts.some((text) => text.includes('"info":{"name":"BOB","big":12345678901234567890}'))).toBe(true);
  const again = await enter(here.service, 'bob');
  bob.cut();
  await bob.closed;
  again.cut();
  await again.closed;
  const reloaded = await enter(here.service, 'bob');
  await shows(reloaded, 'ada', 'bob');
  const other = await enter(here.service, 'fay');
  await shows(ada, 'ada', 'bob', 'fay');
  expect(hasSeenLeave(ada, 'bob')).toBe(false);
  expect(ada.frames.flatMap(({ joined }) => joined ?? []).filter(({ id }) => id === 'bob').length).toBe(1);
  reloaded.send({ type: 'unsubscribe', channel: 'room:1' });
  other.cut();
  await shows(ada, 'ada');
  reloaded.cut();
});

test('a client that watches does not appear; the presence view decides which clients may, and what is shown of them', async () => {
  const watcher = await enter(here.service, 'cy', { presence: 'watch' });
  await shows(watcher, 'ada');
  const eve = await enter(here.service, 'eve');
  await shows(watcher, 'ada', 'eve');
  await here.query(`update users set name = 'Eva' where sub = 'eve'`);
  await watcher.wait('the new name', 0, ({ joined }) => joined?.[0]?.info['name'] === 'Eva');
  await here.query(`update members set hidden = true where sub = 'eve'`);
  await shows(watcher, 'ada');
  await shows(eve, 'ada');
  await here.query('insert into notes values (3, 1)');
  await eve.wait('the row', 0, ({ events }) => events?.[0]?.key?.['id'] === 3);
  const hidden = await RawClient.open(here.service, await signToken({ sub: 'eve' }));
  expect(await hidden.subscribe('room:1', { presence: true })).toMatchObject({ code: 'presence_denied' });
  expect(await hidden.subscribe('plain:1', { presence: 'watch' })).toMatchObject({ code: 'presence_undeclared' });
  expect(await hidden.subscribe('room:1', { presence: 'watch' })).toMatchObject({ type: 'subscribed' });
  for (const client of [watcher, eve, hidden]) client.cut();
});

test('a member whose info nests too deeply, for apps that write it as JSON, does not appear', async () => {
  const watcher = await enter(here.service, 'cy', { presence: 'watch' });
  await here.query(
    `create table profiles (sub text primary key, profile json); insert into profiles values ('fay', '{}')`,
  );
  await here.query(`create or replace view channel_presence."room:{room}" as
    select m.room, m.sub, u.name, 12345678901234567890 as big, p.profile
    from members m join users u using (sub) left join profiles p using (sub) where not m.hidden`);
  const fay = await enter(here.service, 'fay');
  await shows(watcher, 'ada', 'fay');
  await here.query(`update profiles set profile = $1 where sub = 'fay'`, [JSON.stringify(nested(500))]);
  await shows(watcher, 'ada');
  await here.query(`update profiles set profile = $1 where sub = 'fay'`, [JSON.stringify(nested(499))]);
  await shows(watcher, 'ada', 'fay');
  for (const client of [watcher, fay]) client.cut();
  await shows(ada, 'ada');
});

test('a client that waits to appear appears once the presence view has a row for it, inserted or moved there', async () => {
  const watcher = await enter(here.service, 'cy', { presence: 'watch' });
  const gus = await RawClient.open(here.service, await signToken({ sub: 'gus' }));
  await here.query(`insert into users values ('gus', 'GUS'); insert into members values (1, 'gus')`);
  await gus.subscribe('room:1', { presence: true });
  await shows(watcher, 'ada', 'gus');
  for (const [leaves, appears] of [
    [`delete from users where sub = 'gus'`, `insert into users values ('gus', 'GUS')`],
    [`update users set sub = 'hal' where sub = 'gus'`, `update users set sub = 'gus' where sub = 'hal'`],
    ['truncate users', `insert into users select s, upper(s) from unnest('{ada,bob,cy,dan,eve,fay,gus}'::text[]) s`],
  ] as const) {
    await here.query(leaves);
    await until(() => !membersOf(watcher).includes('gus'), leaves);
    await here.query(appears);
    await shows(watcher, 'ada', 'gus');
  }
  for (const client of [watcher, gus]) client.cut();
  await shows(ada, 'ada');
});

test('the client library appears, watches and sends; other handles of the channel miss nothing', async () => {
  const { url, certificate } = here.service;
  class Trusting extends WebSocket {
    constructor(address: string) {
      super(address, { ca: certificate.cert });
    }
  }
  const sno = connect(url, { WebSocket: Trusting, token: () => signToken({ sub: 'bob' }), keepMs: 0 });
  const live = sno.live<{ id: number }>('room:1');
  await live.ready;
  const room = presence<{ name: string }>(sno, 'room:1');
  const updates: string[] = [];
  room.subscribe(({ joined, left }) =>
    updates.push(...joined.map(({ id }) => `+${id}`), ...left.map(({ id }) => `-${id}`)),
  );
  await shows(ada, 'ada', 'bob');
  await until(() => room.members.find(({ id }) => id === 'bob')?.info.name === 'BOB', 'the own member');
  const fay = await enter(here.service, 'fay');
  await until(() => updates.includes('+fay'), 'a member that joins');
  await here.query('insert into notes values (9, 1)');
  await until(() => live.rows.some(({ id }) => id === 9), 'the row');
  expect(send(sno, 'room:1', 'typing', { at: 1 })).toBe(true);
  expect(await fay.wait('the send', 0, ({ event }) => event === 'typing')).toMatchObject({
    from: 'bob',
    data: { at: 1 },
  });
  const messages: unknown[] = [];
  sno.channel('room:1').on('message', (message) => messages.push(message));
  fay.send({ type: 'send', channel: 'room:1', event: 'answer' });
  await until(() => messages.length > 0, 'the answer');
  expect(messages[0]).toEqual({ channel: 'room:1', from: 'fay', event: 'answer', data: null });
  fay.cut();
  await until(() => updates.includes('-fay'), 'a member that leaves');
  room.close();
  await shows(ada, 'ada');
  await here.query('insert into notes values (10, 1)');
  await until(() => live.rows.some(({ id }) => id === 10), 'the row after presence');
  await sno.close();
});

test('revoked access ends presence and sends; an event stream watches', async () => {
  const url = `${here.service.url.replace('wss:', 'https:')}/events?channel=room:1&presence=watch`;
  const stream = await EventClient.open(url, {
    ca: here.service.certificate.cert,
    headers: { authorization: `Bearer ${await signToken({ sub: 'fay' })}` },
  });
  const dan = await enter(here.service, 'dan');
  await shows(ada, 'ada', 'dan');
  await here.query(`delete from members where sub = 'dan'`);
  await dan.wait('the end', 0, ({ type }) => type === 'unsubscribed');
  const from = dan.frames.length;
  await shows(ada, 'ada');
  expect(dan.frames.slice(from).filter(({ type }) => type === 'presence')).toEqual([]);
  await stream.wait('the leave', ({ type, left }) => type === 'presence' && left?.[0]?.id === 'dan');
  expect(membersOf(ada)).toEqual(['ada']);
  dan.cut();
  stream.cut();
});
