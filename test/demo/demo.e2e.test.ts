/** The demo as a person sees it: the built command, and two pages in a real browser. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, readdir, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Browser, BrowserContextOptions, Locator, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Outcome } from '../../src/demo/sql-box.ts';
import { launchBrowser } from '../support/browser.ts';
import { until } from '../support/wait.ts';

const COMMAND = fileURLToPath(new URL('../../dist/cli/sno.js', import.meta.url));
const DESKTOP = { width: 1440, height: 900 };
const PHONE = { width: 390, height: 844 };
const START_TIMEOUT_MS = 120_000;

let demo: ChildProcess;
let output = '';
let temporary: string;
let url: string;
let databasePort: number;
let browser: Browser;
let first: Page;
let second: Page;
/** Errors on the pages, and the hosts that the pages sent requests to. */
const complaints: string[] = [];
const hosts = new Set<string>();

beforeAll(async () => {
  temporary = await mkdtemp(join(tmpdir(), 'sno-demo-test-'));
  // Postgres may run as another user, which needs access to this folder.
  await chmod(temporary, 0o755);
  demo = spawn(process.execPath, [COMMAND, 'demo', '--no-open', '--port', '0'], {
    env: { PATH: process.env['PATH'], TMPDIR: temporary },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  for (const stream of [demo.stdout, demo.stderr])
    stream?.setEncoding('utf8').on('data', (text: string) => (output += text));
  await until(() => output.includes('Ctrl-C') || demo.exitCode !== null, 'the demo is up', START_TIMEOUT_MS);
  url = match(/http:\/\/127\.0\.0\.1:\d+\//);
  databasePort = Number(new URL(match(/postgres:\S+/)).port);
  browser = await launchBrowser();
  first = await open({ viewport: DESKTOP });
  second = await open({ viewport: DESKTOP });
}, START_TIMEOUT_MS + 60_000);

afterAll(async () => {
  await browser?.close();
  demo?.kill('SIGKILL');
  await rm(temporary, { recursive: true, force: true });
});

function match(pattern: RegExp): string {
  const found = pattern.exec(output);
  if (found === null) throw new Error(`the demo said: ${output}`);
  return found[0];
}

async function open(options: BrowserContextOptions): Promise<Page> {
  const page = await (await browser.newContext(options)).newPage();
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('request', (request) => hosts.add(new URL(request.url()).hostname));
  page.on('websocket', (socket) => hosts.add(new URL(socket.url()).hostname));
  await page.goto(url);
  await page.locator('#connection[data-state="open"]').waitFor();
  await page.locator('.card').first().waitFor();
  return page;
}

const card = (page: Page, id: number, status = ''): Locator =>
  page.locator(`.card[data-task="${id}"]${status === '' ? '' : `[data-status="${status}"]`}`);

/** Accepted states of a run. For some tests it does not matter whether its events have arrived. */
const STATES = { committed: ['done', 'arrived'], arrived: ['arrived'], failed: ['failed'] } as const;

/**
 * Drags a card onto the upper edge of another by drag events. The browser's own drag blocks all
 * input if it does not finish, which happens on a busy machine.
 */
async function drag(page: Page, from: Locator, onto: Locator): Promise<void> {
  expect(await from.getAttribute('draggable')).toBe('true');
  const dataTransfer = await page.evaluateHandle(() => new DataTransfer());
  await from.dispatchEvent('dragstart', { dataTransfer });
  // waits until the card stands still
  await onto.hover();
  const { y } = (await onto.boundingBox()) as { readonly y: number };
  for (const type of ['dragover', 'drop']) await onto.dispatchEvent(type, { dataTransfer, clientY: y + 4 });
  await from.dispatchEvent('dragend', { dataTransfer });
}

/** Types SQL, runs it, waits until its line has this state, and returns the line's text. */
async function run(page: Page, sql: string, state: keyof typeof STATES): Promise<string> {
  await page.locator('#sql').fill(sql);
  await page.locator('#sql').press('Control+Enter');
  const line = page.locator('#runs > li').first();
  await line.locator('.again', { hasText: sql.trim() }).waitFor();
  await page.locator(STATES[state].map((name) => `#runs > li:first-child[data-state="${name}"]`).join()).waitFor();
  return (await line.textContent()) ?? '';
}

async function post(sql: string): Promise<Outcome> {
  const response = await fetch(new URL('/sql', url), {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ sql }),
  });
  return (await response.json()) as Outcome;
}

describe('the demo', () => {
  test('prints the address of the dashboard', async () => {
    const inside = /Inside +(http:\S+)/.exec(output)?.[1] as string;
    expect(await (await fetch(inside)).text()).toContain('<title>Snö</title>');
  });

  test('shows board, score and prices at once', async () => {
    for (const page of [first, second]) {
      expect(await page.locator('.card').count()).toBe(9);
      expect(await page.locator('.score').allInnerTexts()).toEqual([
        expect.stringMatching(/^\d+$/),
        expect.stringMatching(/^\d+$/),
      ]);
      expect(await page.locator('#market tbody tr').count()).toBe(6);
    }
  });

  test('runs a simulation whose commits arrive', async () => {
    for (const channel of ['match:1', 'market:nordic'])
      await first.locator(`#stream [data-channel="${channel}"]`).first().waitFor();
    await first.locator('#latency-p99', { hasText: /^[\d.]+ ms$/ }).waitFor();
  });

  test('pauses the simulation for all visitors, by SQL', async () => {
    await first.locator('#life').click();
    for (const page of [first, second]) await page.locator('#life', { hasText: 'Resume simulation' }).waitFor();
    await expect(first.locator('#sql').inputValue()).resolves.toBe('update life set running = false where id = 1;');
  });

  test('moves a card in both windows when SQL is typed in one', async () => {
    // Before the pause the simulation may have moved any card.
    await run(first, "update tasks set status = 'todo' where id = 1 returning id", 'committed');
    const line = await run(first, "update tasks set status = 'done', title = 'Moved' where id = 1", 'arrived');
    expect(line).toMatch(/1 event on board:1 · [\d.]+ ms after the commit, [\d.]+ ms after Run/);
    for (const page of [first, second]) await card(page, 1, 'done').getByText('Moved').waitFor();
  });

  test("shows the event with its LSN, and marks it as the visitor's own", async () => {
    const item = first.locator('#stream > li').first();
    await item.and(first.locator('.mine')).waitFor();
    const xid = (await item.getAttribute('data-xid')) ?? '';
    expect(xid).toMatch(/^\d+$/);
    const event = { op: 'update', key: { id: 1 }, data: { id: 1, board_id: 1, title: 'Moved', status: 'done' } };
    for (const [page, mine] of [
      [first, 1],
      [second, 0],
    ] as const) {
      const same = page.locator(`#stream > li[data-xid="${xid}"]`);
      await same.waitFor();
      expect(await same.and(page.locator('.mine')).count()).toBe(mine);
      expect(await same.locator('b').textContent()).toBe('board:1');
      expect(await same.locator('.lsn').textContent()).toMatch(/^[0-9A-F]+\/[0-9A-F]+$/);
      expect(JSON.parse((await same.locator('pre').textContent()) ?? '')).toMatchObject(event);
    }
  });

  test('shows many rows of one commit together', async () => {
    const line = await run(first, 'update prices set price = price + 1', 'arrived');
    expect(line).toMatch('6 events on market:nordic');
    const item = second.locator('#stream > li').first();
    await item.and(second.locator('[data-channel="market:nordic"]')).waitFor();
    expect(await item.locator('.op.update').count()).toBe(6);
  });

  test('counts a goal, in two channels by one commit', async () => {
    const before = Number(await second.locator('.home .score').textContent());
    await run(
      first,
      "update matches set home_score = home_score + 1; insert into goals (match_id, team, scorer, clock_seconds) values (1, 'home', 'Test', 3599)",
      'arrived',
    );
    await second.locator('.home .score', { hasText: String(before + 1) }).waitFor();
    await second.locator('.home .goals', { hasText: 'Test 59:59' }).waitFor();
    await first.locator('#runs > li:first-child .arrival', { hasText: '1 event on goals:1' }).waitFor();
    await second.locator('#match-news', { hasText: 'Goal for Kiruna' }).waitFor({ state: 'attached' });
  });

  test('shows nothing of a transaction that was rolled back', async () => {
    const line = await run(first, 'begin; delete from tasks; rollback', 'committed');
    expect(line).toMatch('rolled back');
    // The next event is of the next commit: nothing was sent in between.
    await run(first, "insert into tasks (id, title) values (1000, 'After the rollback')", 'arrived');
    await card(second, 1000).waitFor();
    expect(await second.locator('#stream > li').first().locator('.op').allInnerTexts()).toEqual(['insert']);
    expect(await second.locator('#stream .op.delete').count()).toBe(0);
    expect(await second.locator('.card').count()).toBe(10);
  });

  test('removes a card when its row leaves the view', async () => {
    await run(second, 'update tasks set archived_at = now() where id = 1000', 'arrived');
    for (const page of [first, second]) await card(page, 1000).waitFor({ state: 'detached' });
    expect(await first.locator('#stream > li').first().locator('.op').textContent()).toBe('delete');
  });

  test('moves cards by buttons, and shows the SQL that they run', async () => {
    await run(first, "update tasks set status = 'todo' where id = 2 returning id", 'committed');
    await card(second, 2, 'todo')
      .getByRole('button', { name: /to Doing$/ })
      .click();
    for (const page of [first, second]) await card(page, 2, 'doing').waitFor();
    await expect(second.locator('#sql').inputValue()).resolves.toBe(
      "update tasks set status = 'doing', position = nextval('task_order') where id = 2;",
    );
  });

  test('adds a task with a quote in its title', async () => {
    await first.getByRole('textbox', { name: 'New task' }).fill("Don't panic");
    await first.getByRole('textbox', { name: 'New task' }).press('Enter');
    for (const page of [first, second]) await page.locator('.card', { hasText: "Don't panic" }).waitFor();
  });

  test('drops a card between others', async () => {
    await run(
      first,
      "update tasks set status = 'doing', position = id where id between 2 and 5 returning id",
      'committed',
    );
    for (const id of [2, 3, 4, 5]) await card(first, id, 'doing').waitFor();
    await drag(first, card(first, 9), card(first, 4));
    await card(second, 9, 'doing').waitFor();
    const order = await second
      .locator('[data-status="doing"] > .cards > .card')
      .evaluateAll((cards) => cards.map((item) => item.getAttribute('data-task')));
    expect(order.slice(order.indexOf('3'), order.indexOf('4') + 1)).toEqual(['3', '9', '4']);
  });

  test('underlines the wrong part of the SQL', async () => {
    expect(await run(first, "update tasks set titel = 'ö' where id = 1", 'failed')).toMatch(
      'column "titel" of relation "tasks" does not exist (42703)',
    );
    expect(await first.locator('#sql-colours mark').textContent()).toBe('titel');
  });

  test('shows the rows that a query returns', async () => {
    await run(first, 'select symbol, name from prices order by symbol', 'committed');
    expect(await first.locator('#runs > li:first-child td').allInnerTexts()).toContain('Salmon');
  });

  test('starts over in one commit', async () => {
    await run(second, 'select demo.seed()', 'arrived');
    for (const page of [first, second]) {
      await page.locator('.card', { hasText: "Don't panic" }).waitFor({ state: 'detached' });
      // The simulation runs again, and may have moved the card.
      await card(page, 1).getByText('Clear the path to the lake').waitFor();
      expect(await page.locator('.card').count()).toBe(9);
    }
  });

  test.each([
    'drop table tasks',
    'truncate tasks',
    'create table mine (id integer)',
    'alter table tasks disable trigger all',
    'select * from pg_authid',
    "copy (select 1) to program 'id'",
    "select pg_read_file('postgresql.conf')",
    'set role postgres',
    'create view channels."mine:{id}" as select id from public.tasks',
  ])('does not let visitors %s', async (sql) => {
    expect(await post(sql)).toMatchObject({ ok: false, error: { code: '42501' } });
  });

  describe('layout', () => {
    let page: Page;

    beforeAll(async () => {
      page = await open({ viewport: DESKTOP, colorScheme: 'dark', reducedMotion: 'reduce' });
    });

    afterAll(() => page.context().close());

    test.each([
      ['phone', PHONE, 'light'],
      ['phone by night', PHONE, 'dark'],
      ['narrow phone', { width: 320, height: 640 }, 'light'],
      ['tablet', { width: 820, height: 1180 }, 'dark'],
      ['laptop', { width: 1280, height: 720 }, 'light'],
      ['desktop', DESKTOP, 'dark'],
    ] as const)('fits a %s of %o, %s', async (name, viewport, colorScheme) => {
      await page.setViewportSize(viewport);
      await page.emulateMedia({ colorScheme });
      const wide = "select repeat('wide ', 60) as one, repeat('wider ', 60) as other";
      await run(page, `${wide}; update tasks set title = '${name} ' || repeat('W', 100) where id = 5`, 'arrived');
      await card(page, 5).getByText(`${name} WWWW`).waitFor();
      const [width, visible] = await page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]);
      expect(width).toBeLessThanOrEqual(visible as number);
    });

    test("follows the system's dark mode until the reader chooses one", async () => {
      const brightness = () =>
        page.evaluate(() => Number(/\d+/.exec(getComputedStyle(document.documentElement).backgroundColor)?.[0]));
      expect(await brightness()).toBeLessThan(60);
      await page.locator('#theme').click();
      expect(await brightness()).toBeGreaterThan(200);
      await page.reload();
      await page.locator('.card').first().waitFor();
      expect(await brightness()).toBeGreaterThan(200);
    });
  });

  test('sends requests to no other host, and logs no errors', () => {
    expect([...hosts]).toEqual(['127.0.0.1']);
    expect(complaints).toEqual([]);
  });

  test('ends on SIGINT, tells its pages, and leaves no files behind', async () => {
    demo.kill('SIGINT');
    const [code] = (await once(demo, 'exit')) as [number | null];
    expect(code, output).toBe(0);
    for (const page of [first, second]) await page.locator('#connection[data-state="waiting"]').waitFor();
    await expect(once(connect(databasePort, '127.0.0.1'), 'connect')).rejects.toThrow('ECONNREFUSED');
    // Postgres's binaries may have been copied there to be run; they are no data.
    expect((await readdir(temporary)).filter((name) => !name.startsWith('sno-embedded-postgres-'))).toEqual([]);
  });
});
