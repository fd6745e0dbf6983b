/**
 * The hooks in React 18 and 19, and a collection of TanStack DB, in Chromium with the real service.
 */
import type { Browser, Page } from 'playwright-core';
import { createElement as h } from 'react';
import { renderToString } from 'react-dom/server';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { connect } from '../../../src/client/index.ts';
import { SnoProvider } from '../../../src/client/react/index.ts';
import { enter, hasSeenLeave } from '../../service/room.ts';
import { type Stage, stage } from '../../service/stage.ts';
import { launchBrowser } from '../../support/browser.ts';
import { signToken } from '../../support/service.ts';
import { until } from '../../support/wait.ts';
import { bundleOf, REACTS } from './bundles.ts';
import { type Note, SCHEMA, textOf } from './notes.ts';
import { ORIGIN, openPage } from './opened-page.ts';
import { type Part, partsOf } from './parts.ts';
import type { ReactPage } from './react-page.ts';
import type { TanstackPage } from './tanstack-page.ts';

let here: Stage;
let browser: Browser;
let page: Page;
/** Errors and warnings in the page's console. */
let complaints: string[];
/** Each test has a room of its own. */
let room = 0;

beforeAll(async () => {
  [here, browser] = await Promise.all([
    stage(SCHEMA, { SNO_ALLOWED_ORIGINS: ORIGIN, SNO_ACCESS: 'views' }),
    launchBrowser(),
  ]);
});
afterEach(async () => {
  await page.context().close();
  await here.query('truncate notes');
});
afterAll(async () => {
  await browser.close();
  await here.end();
});

async function open(bundle: string): Promise<void> {
  ({ page, complaints } = await openPage(browser, bundle));
  room++;
}

const connectPage = (token?: string) =>
  page.evaluate(([url, jwt]) => (globalThis as unknown as { app: ReactPage }).app.connect(url, jwt), [
    here.service.url,
    token,
  ] as const);
const show = (...parts: readonly Part[]) =>
  page.evaluate((shown) => (globalThis as unknown as { app: ReactPage }).app.show(shown), parts);
const element = (id: string) => page.locator(`#${id}`);
const shows = (id: string, text: string) =>
  until(async () => (await element(id).textContent({ timeout: 0 })) === text, `${id} shows ${text}`);
const hasStatus = (id: string, status: string) =>
  until(async () => (await element(id).getAttribute('data-status')) === status, `${id} is ${status}`);

const insertNotes = () => here.query('insert into notes values ($1, $2, $3), ($4, $2, $5)', [1, room, 'one', 2, 'two']);
const selected = async (): Promise<string> => {
  const { rows } = await here.query<Note>('select id, room, body from notes where room = $1', [room]);
  return textOf(rows);
};

describe.each(Object.entries(REACTS))('%s', (_, version) => {
  let bundle: string;
  beforeAll(async () => {
    bundle = await bundleOf('react-page.ts', version);
  });

  const app = <Result>(call: (app: ReactPage) => Result) =>
    page.evaluate<Result>(`(${call})(globalThis.app)`) as Promise<Result>;

  async function start(): Promise<void> {
    await open(bundle);
    await connectPage();
    await insertNotes();
  }

  test('useLive, useRow, useChannel and useStatus follow the database in StrictMode', async () => {
    await start();
    await show(
      ['Rows', { id: 'rows', room }],
      ['OneRow', { id: 'first', room }],
      ['Heard', { id: 'heard', room }],
      ['Status', { id: 'status', room }],
      ['Rows', { id: 'none', room: undefined }],
    );
    await shows('rows', '1 one, 2 two');
    await shows('first', 'one');
    await shows('status', 'open');
    await hasStatus('rows', 'live');
    const before = await app(({ renderings }) => renderings['first']);
    await here.query("update notes set body = 'zwei' where id = 2");
    await shows('rows', '1 one, 2 zwei');
    expect(await app(({ renderings }) => renderings['first'])).toBe(before);
    await here.query("update notes set body = 'eins' where id = 1");
    await shows('first', 'eins');
    expect(await element('rows').getAttribute('data-first')).toBe('eins');
    await here.query('delete from notes where id = 1');
    await shows('first', 'no row');
    await shows('heard', 'update update delete');
    expect(await element('none').textContent()).toBe('');
    // Two handles of one channel share a subscription; StrictMode leaves no second one.
    await until(async () => (await here.metric('sno_subscriptions')) === 1, 'one subscription');
    await app((it) => it.unmount());
    await until(async () => (await here.metric('sno_subscriptions')) === 0, 'the channel is left');
    expect(complaints).toEqual([]);
  });

  test('usePresence appears once, over StrictMode and a remount, and shows members that come, change and go', async () => {
    await here.query('update people set name = initcap(sub)');
    await open(bundle);
    await connectPage(await signToken({ sub: 'ada' }));
    const rows: Part = ['Rows', { id: 'rows', room }];
    await show(rows, ['Here', { id: 'first', room }]);
    await shows('first', 'Ada');
    const bob = await enter(here.service, 'bob', { presence: true }, `room:${room}`);
    await shows('first', 'Ada Bob');
    await show(rows);
    await show(rows, ['Here', { id: 'second', room }], ['Here', { id: 'watching', room, watch: true }]);
    await shows('second', 'Ada Bob');
    await shows('watching', 'Ada Bob');
    // Rows, two kinds of presence and StrictMode share one subscription.
    expect(await here.metric('sno_subscriptions')).toBe(2);
    await here.query("update people set name = 'Robert' where sub = 'bob'");
    await shows('second', 'Ada Robert');
    await bob.wait('the new name', 0, ({ joined }) => joined?.[0]?.info['name'] === 'Robert');
    expect(hasSeenLeave(bob, 'ada')).toBe(false);
    bob.send({ type: 'unsubscribe', channel: `room:${room}` });
    await shows('second', 'Ada');
    await hasStatus('second', 'live');
    bob.cut();
    expect(complaints).toEqual([]);
  });

  test('a component suspends until the rows are there, and its boundary catches a refusal and tries again', async () => {
    await start();
    const denied = 1_000 + room;
    await show(['Suspended', { id: 'waits', room }], ['Suspended', { id: 'denied', room: denied }]);
    await shows('waits', '1 one, 2 two');
    await shows('denied', 'access_denied');
    await here.query('insert into open_rooms values ($1)', [denied]);
    await until(async () => {
      await element('denied')
        .click({ timeout: 1_000 })
        .catch(() => {});
      return (await element('denied').textContent()) === '';
    }, 'the second attempt');
    await here.query("insert into notes values (3, $1, 'three')", [denied]);
    await shows('denied', '3 three');
    await show(['Suspended', { id: 'waits', room: denied }]);
    await shows('waits', '3 three');
    // React reports what a boundary caught.
    expect(complaints.filter((text) => !/may not join|boundary/.test(text))).toEqual([]);
  });

  test('a boundary asks again though another component shows the refused channel', async () => {
    await start();
    const denied = 1_000 + room;
    await show(['Rows', { id: 'other', room: denied }], ['Suspended', { id: 'denied', room: denied }]);
    await hasStatus('other', 'error');
    await shows('denied', 'access_denied');
    await here.query('insert into open_rooms values ($1)', [denied]);
    await element('denied').click();
    await shows('denied', '');
    await here.query("insert into notes values (3, $1, 'three')", [denied]);
    await shows('denied', '3 three');
    await shows('other', '3 three');
    await hasStatus('other', 'live');
  });

  test('a component that waits for access stays suspended through a refusal, however often its parents render', async () => {
    await start();
    const denied = 1_000 + room;
    const other: Part = ['Rows', { id: 'other', room: denied }];
    const waits: Part = ['Suspended', { id: 'waits', room: denied, waitForAccess: true }];
    await show(waits, other);
    await hasStatus('other', 'error');
    await show(waits, other, ['Rows', { id: 'more', room: denied }]);
    await hasStatus('more', 'error');
    expect(await element('waits').textContent()).toBe('loading');
    await here.query("insert into notes values (3, $1, 'three')", [denied]);
    await here.query('insert into open_rooms values ($1)', [denied]);
    await shows('waits', '3 three');
    expect(complaints).toEqual([]);
  });

  test('a page that a server has rendered hydrates without a complaint, and becomes live', async () => {
    await start();
    const parts: Part[] = [
      ['Rows', { id: 'rows', room }],
      ['Status', { id: 'status', room }],
    ];
    const client = connect('wss://never.test', { lazy: true });
    const html = renderToString(h(SnoProvider, { client }, h('main', null, partsOf(parts))));
    expect(client.status).toBe('idle');
    await page.evaluate(([text, shown]) => (globalThis as unknown as { app: ReactPage }).app.hydrate(text, shown), [
      html,
      parts,
    ] as const);
    await shows('rows', '1 one, 2 two');
    await shows('status', 'open');
    expect(complaints).toEqual([]);
  });
});

describe('TanStack DB', () => {
  let bundle: string;
  beforeAll(async () => {
    bundle = await bundleOf('tanstack-page.ts');
  });
  const call = <Result>(text: string) => page.evaluate(`globalThis.app.${text}`) as Promise<Result>;
  const state = () => call<ReturnType<TanstackPage['state']>>('state()');
  /** What the collection showed, without repetitions. */
  const steps = async () => {
    const { shown } = await state();
    const [first] = shown;
    return (first === '' ? shown.slice(1) : shown).filter((text, at, all) => text !== all[at - 1]);
  };
  /** The statement that the app's server runs for a write. Throws if it refuses the write. */
  let sqlOf: (sql: string) => string;

  async function start(): Promise<void> {
    sqlOf = (sql) => `${sql} returning pg_current_xact_id()::text as xid`;
    await open(bundle);
    await page.exposeFunction('write', async (sql: string) => {
      const { rows } = await here.query<{ xid: string }>(sqlOf(sql));
      return rows[0]?.xid;
    });
    await insertNotes();
    await page.evaluate(
      ([url, number]) => {
        const { app, write } = globalThis as unknown as { app: TanstackPage; write: never };
        app.open(url, number, write);
      },
      [here.service.url, room] as const,
    );
    await until(async () => (await state()).status === 'ready', 'the collection is ready');
  }

  test('each commit is one step, and a truncate and a reset too', async () => {
    await start();
    await here.query(`begin; update notes set body = 'eins' where id = 1;
      insert into notes values (3, ${room}, 'drei'); delete from notes where id = 2; commit`);
    await until(async () => (await state()).now === '1 eins, 3 drei', 'the commit');
    // A row leaves under its key while another one takes the key over.
    await here.query('begin; delete from notes where id = 1; update notes set id = 1 where id = 3; commit');
    await until(async () => (await state()).now === '1 drei', 'the second commit');
    await here.query(`begin; truncate notes; insert into notes values (7, ${room}, 'new'); commit`);
    await until(async () => (await state()).now === '7 new', 'the truncate');
    // The view has another meaning from now on: reset, and a snapshot.
    await here.query(`insert into notes values (8, ${room}, 'hidden')`);
    await until(async () => (await state()).now === '7 new, 8 hidden', 'the insert');
    const view = (where: string) =>
      here.query(`create or replace view channels."room:{room}" as select id, room, body from notes ${where}`);
    await view("where body <> 'hidden'");
    await until(async () => (await state()).now === '7 new', 'the new meaning');
    await view('');
    await until(async () => (await state()).now === '7 new, 8 hidden', 'the old meaning');
    const all = ['1 one, 2 two', '1 eins, 3 drei', '1 drei', '7 new', '7 new, 8 hidden', '7 new', '7 new, 8 hidden'];
    expect(await steps()).toEqual(all);
    expect(complaints).toEqual([]);
  });

  test('an optimistic write stays until the rows of the database are there, and its value never flickers', async () => {
    await start();
    expect(await call(`insert({ id: 5, room: ${room}, body: "five" })`)).toBe('1 one, 2 two, 5 five');
    expect(await call('update(5, "fünf")')).toBe('1 one, 2 two, 5 fünf');
    expect(await call('remove(2)')).toBe('1 one, 5 fünf');
    expect(await steps()).toEqual(['1 one, 2 two', '1 one, 2 two, 5 five', '1 one, 2 two, 5 fünf', '1 one, 5 fünf']);
    expect((await state()).now).toBe(await selected());
  });

  test('a write of which the database keeps nothing ends, and its row goes back', async () => {
    await start();
    sqlOf = () => 'select pg_current_xact_id()::text as xid';
    expect(await call('update(1, "never")')).toBe('1 one, 2 two');
    expect((await state()).now).toBe(await selected());
  });

  test('a write that the server refuses is taken back, and later commits arrive', async () => {
    await start();
    sqlOf = () => {
      throw new Error('refused');
    };
    await expect(call('update(1, "never")')).rejects.toThrow('refused');
    expect((await state()).now).toBe('1 one, 2 two');
    await here.query("update notes set body = 'zwei' where id = 2");
    await until(async () => (await state()).now === '1 one, 2 zwei', 'the commit');
  });

  test('after a killed server, 5 MB written meanwhile and a revoked access, collection and hooks equal the view', async () => {
    await start();
    const [first, number] = [page, room];
    await open(await bundleOf('react-page.ts'));
    room = number;
    await connectPage();
    await show(['Rows', { id: 'rows', room }]);
    await hasStatus('rows', 'live');
    await here.service.kill();
    await hasStatus('rows', 'stale');
    expect(await element('rows').textContent()).toBe('1 one, 2 two');
    await here.query("update notes set body = repeat('x', 5000000) where id = 1");
    await here.service.restart();
    await shows('rows', '1 5000000, 2 two');
    expect(await element('rows').textContent()).toBe(await selected());
    await hasStatus('rows', 'live');
    const second = page;
    page = first;
    await until(async () => (await state()).now === '1 5000000, 2 two', 'what was written meanwhile');
    page = second;
    await here.query('delete from open_rooms where room = $1', [room]);
    await hasStatus('rows', 'closed');
    expect(await element('rows').getAttribute('data-error')).toBe('access_revoked');
    await page.context().close();
    page = first;
    await until(async () => (await call('reached("0/1")')) === 'access_revoked', 'the end of the channel');
    expect(await state()).toMatchObject({ status: 'ready', now: '1 5000000, 2 two' });
    expect(await steps()).toEqual(['1 one, 2 two', '1 5000000, 2 two']);
    expect(complaints).toEqual([]);
  });

  test('a channel that is refused from the beginning fails the collection', async () => {
    await open(bundle);
    await page.evaluate(
      (url) => (globalThis as unknown as { app: TanstackPage }).app.open(url, 999, () => Promise.reject(new Error())),
      here.service.url,
    );
    await until(async () => (await state()).status === 'error', 'the refusal');
    await here.query('insert into open_rooms values (999)');
  });
});
