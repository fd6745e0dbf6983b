/** The dashboard as an operator sees it: the real service with real faults, in a real browser. */
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { RawClient } from '../service/raw-client.ts';
import { launchBrowser } from '../support/browser.ts';
import { freshDatabase, type TestDatabase } from '../support/postgres.ts';
import { PusherClient } from '../support/pusher-client.ts';
import { type ServiceProcess, signToken, startService } from '../support/service.ts';
import { until } from '../support/wait.ts';
import { isAlive, workersOf } from '../support/workers.ts';
import { accessibilityFaults } from './accessibility.ts';
import { ADMIN_TOKEN, type Dashboard, openDashboard, proxyBelow, signIn } from './dashboard-page.ts';

/** Harmless markup: it would be an element with this id, if the page took it for markup. */
const MARKUP = '<b id="injected">markup</b>';
const SCHEMA = `
  create table tasks (id int primary key, room text not null, title text not null);
  alter table tasks replica identity full;
  create table members (room text, user_id text, primary key (room, user_id));
  create table filler (body text);
  insert into members values ('a/b', 'ada'), ('a/b', '${MARKUP}');
  create schema channels; create schema channel_access;
  create view channels."room:{room}" as select id, room, title from tasks;
  create view channel_access."room:{room}" as select room, user_id as sub from members;
  create schema channel_presence;
  create view channel_presence."room:{room}" as select room, user_id as sub from members;
  create table owners (id int primary key, name text);
  create table labels (id int primary key, room text, owner int);
  alter table owners replica identity full; alter table labels replica identity full;
  create view channels."label:{room}" as select l.id, l.room, o.name from labels l join owners o on o.id = l.owner;
  create view channels."count:{room}" as select room, count(*) as tasks from tasks group by room;
`;
const CHANNEL = 'room:a%2Fb';

let database: TestDatabase;
let service: ServiceProcess;
let browser: Browser;
let dashboard: Dashboard;
let page: Page;
let ada: RawClient;
let eve: RawClient;

beforeAll(async () => {
  database = await freshDatabase();
  await database.query(SCHEMA);
  service = await startService(database.url, {
    SNO_SLOT: database.name,
    SNO_ADMIN_TOKEN: ADMIN_TOKEN,
    SNO_WORKERS: '2',
    SNO_REPLAY_WAL_BYTES: '4MB',
    SNO_SLOT_WAL_BYTES: '64MB',
    SNO_PUSHER_APP_ID: '1',
    SNO_PUSHER_KEY: 'key',
    SNO_PUSHER_SECRET: 'a secret of the tests, for Pusher',
  });
  [ada, eve] = [await follow('ada'), await follow(MARKUP)];
  browser = await launchBrowser();
  dashboard = await openDashboard(browser, url());
  page = dashboard.page;
});
afterAll(async () => {
  await browser?.close();
  for (const client of [ada, eve]) client?.cut();
  await service?.remove();
  await database?.drop();
});

const url = () => `http://127.0.0.1:${service.adminPort}/`;

/** Without compression: compressed, much would fit into the buffers of a paused socket. */
async function follow(sub: string): Promise<RawClient> {
  const client = await RawClient.open(service, await signToken({ sub }), false);
  const { type } = await client.subscribe(CHANNEL, { presence: true });
  if (type !== 'subscribed') throw new Error(`${sub}: ${type}`);
  return client;
}

const panel = (name: string) => page.getByRole('region', { name, exact: true });
const faults = () => page.evaluate(accessibilityFaults);

test('asks for the token, keeps it out of addresses, and refuses a wrong one', async () => {
  await signIn(page, 'not-the-token');
  await page.getByRole('alert').getByText('The service refused this token.').waitFor();
  expect(await faults()).toEqual([]);
  await signIn(page);
  await panel('Live rates').waitFor();
  await page.reload();
  await panel('Live rates').waitFor();
  expect(dashboard.requests.filter((address) => address.includes('token'))).toEqual([]);
  expect(await page.evaluate(() => [document.cookie, localStorage.length])).toEqual(['', 0]);
});

test('says which view is refused, with the place underlined', async () => {
  const health = page.getByRole('region', { name: 'Health' });
  await health.getByText('Degraded', { exact: true }).waitFor();
  await health.getByText('channels."count:{room}"').first().waitFor();
  await dashboard.view('Channels');
  const refused = panel('Refused');
  expect(await refused.locator('pre').innerText()).toMatch(/GROUP BY room;\n +\^{5}/);
  expect(await faults()).toEqual([]);
});

test('shows a channel view with its path, its claims and its subscribers', async () => {
  const row = panel('Channel views').getByRole('row', { name: 'room:{room}' });
  await row.getByText('in process').waitFor();
  await row.locator('[data-label="Subscribers"]', { hasText: /^2$/ }).waitFor();
  await row.getByRole('button').click();
  await panel('Channel views').getByText('Who may appear').waitFor();
  await panel('Channel views').getByText('sub text').first().waitFor();
  await panel('Channel views')
    .getByRole('row', { name: 'label:{room}' })
    .getByText('joined', { exact: true })
    .waitFor();
});

test('lists the active channels of a view, to choose one, and its members', async () => {
  await panel('Channel views').getByRole('link', { name: 'of room:{room}' }).click();
  const row = panel('Active channels').getByRole('row', { name: CHANNEL });
  await row.locator('[data-label="Members"]', { hasText: /^2$/ }).waitFor();
  expect(await faults()).toEqual([]);
  await row.getByRole('link').click();
  await panel('Members').getByText(MARKUP).waitFor();
  await page.getByRole('link', { name: 'room:{room}' }).click();
  await panel('Active channels').waitFor();
});

test('inspects a channel: values stay hidden until they are asked for, and markup stays text', async () => {
  await dashboard.view('Channels');
  await page.getByLabel('Name of a channel').fill(CHANNEL);
  await page.keyboard.press('Enter');
  await panel('Subscribers').getByText(MARKUP).waitFor();
  await panel('Live frames').getByText('Waiting for the next commit').waitFor();
  await database.query("insert into tasks values (1, 'a/b', $1)", [MARKUP]);
  const frames = panel('Live frames').getByRole('list');
  await frames.getByText('id, room, title').waitFor();
  expect(await frames.innerText()).not.toContain('markup');
  await page.getByRole('button', { name: 'Show values' }).click();
  await database.query("update tasks set room = room, title = title || '!' where id = 1");
  await frames
    .getByText(`${JSON.stringify(MARKUP).slice(1, -1)}!`)
    .first()
    .waitFor();
  expect(await page.locator('#injected').count()).toBe(0);
  // More frames than the list has room for: the keyboard must scroll it.
  const change = "update tasks set room = room, title = title || '!' where id = 1";
  for (let count = 0; count < 15; count++) await database.query(change);
  await frames.getByRole('listitem').nth(14).waitFor();
  expect(await faults()).toEqual([]);
});

test('explains why a revoked user may not join', async () => {
  await database.query('delete from members where user_id = $1', [MARKUP]);
  await eve.wait('the end of the subscription', 0, ({ code }) => code === 'access_revoked');
  const token = await signToken({ sub: MARKUP });
  await page.goto(`${url()}#/channel/${encodeURIComponent(CHANNEL)}`);
  await page.getByRole('link', { name: 'Why may a token not join it?' }).click();
  expect(await page.getByRole('textbox', { name: 'Channel' }).inputValue()).toBe(CHANNEL);
  await page.getByRole('textbox', { name: 'Token' }).fill(token);
  await page.getByRole('button', { name: 'Explain' }).click();
  await page.getByRole('heading', { name: 'May not join' }).waitFor();
  await panel('1. The token').getByText('verified').waitFor();
  await panel('3. The access view').getByRole('row', { name: 'sub' }).getByText('no row', { exact: true }).waitFor();
  expect(await page.locator('#injected').count()).toBe(0);
  expect(await faults()).toEqual([]);
  await page.getByRole('radio', { name: 'Claims' }).check();
  await page.getByRole('textbox', { name: 'Claims' }).fill('{"sub": "ada"}');
  await page.getByRole('button', { name: 'Explain' }).click();
  await page.getByRole('heading', { name: 'May join' }).waitFor();
  expect(dashboard.requests.filter((address) => address.includes(token))).toEqual([]);
});

test('counts a denial, with its code and what to do', async () => {
  await eve.subscribe(CHANNEL);
  await dashboard.view('Incidents');
  await page.getByRole('button', { name: 'Denials' }).click();
  await panel('Errors, denials and resets').getByRole('row', { name: 'access_denied' }).waitFor();
});

test('lists a slow client first, and disconnects it once that is confirmed', async () => {
  ada.pause();
  await database.query("insert into tasks select n, 'a/b', repeat(md5(n::text), 3000) from generate_series(2, 250) n");
  const pusher = new PusherClient(service.url.replace('/v1', '/app/key'), { ca: service.certificate.cert });
  await pusher.established();
  await dashboard.view('Connections');
  await panel('Connections').getByText('Pusher websocket').waitFor();
  pusher.socket.terminate();
  const first = panel('Connections').locator('tbody tr').first();
  await first.getByText('slow').waitFor();
  await first.getByText('ada').waitFor();
  expect(await faults()).toEqual([]);
  const disconnect = page.getByRole('button', { name: 'Disconnect ada' });
  await disconnect.click();
  await page.keyboard.press('Escape');
  await disconnect.click();
  await page.getByRole('dialog').getByRole('button', { name: 'Disconnect' }).click();
  await panel('Connections').getByText('Disconnected ada.').waitFor();
  ada.resume();
  await ada.closed;
  await page.getByLabel('Search user, address or id').fill('injected');
  await until(async () => (await panel('Connections').locator('tbody tr').count()) === 1, 'the search has an effect');
  await panel('Connections').getByText(MARKUP).first().waitFor();
});

test('says which open transaction holds the slot, with the SQL that ends it', async () => {
  const holder = await database.connect();
  await holder.query('begin');
  await holder.query('select pg_current_xact_id()');
  const { rows } = await holder.query<{ pid: number }>('select pg_backend_pid() as pid');
  const pid = rows[0]?.pid as number;
  await database.query('insert into filler select repeat(md5(n::text), 30) from generate_series(1, 45000) n');
  await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
  await dashboard.view('Overview');
  const end = `pg_terminate_backend(${pid})`;
  await panel('Replication slot').getByText(end).waitFor();
  const health = page.getByRole('region', { name: 'Health' });
  await health
    .getByText(/the slot holds/)
    .first()
    .waitFor();
  await health.getByRole('button', { name: `Copy: select ${end}` }).click();
  const sql = await page.evaluate(() => navigator.clipboard.readText());
  await database.query(sql);
  await holder.end().catch(() => undefined);
  await panel('Replication slot').getByText(end).waitFor({ state: 'detached' });
});

test('shows the rates as charts and as a table', async () => {
  await dashboard.view('Overview');
  const rates = panel('Live rates');
  await rates.getByText('The same as a table').click();
  await rates.getByRole('row', { name: 'Commit to send, p99' }).waitFor();
  expect(await rates.locator('figure').count()).toBe(12);
});

test('shows that a killed worker is replaced', async () => {
  await dashboard.view('Processes');
  const [first = 0] = await workersOf(service.pid);
  await panel('Processes of this machine')
    .getByRole('cell', { name: String(first), exact: true })
    .waitFor();
  process.kill(first, 'SIGKILL');
  await until(async () => !(await isAlive(first)), 'the worker has ended');
  await panel('Processes of this machine')
    .getByRole('cell', { name: String(first), exact: true })
    .waitFor({ state: 'detached' });
  await until(async () => (await workersOf(service.pid)).length === 2, 'two workers run');
});

test('shows settings and where they come from, but no secret', async () => {
  await dashboard.view('Settings');
  await panel('Settings in force').getByRole('row', { name: 'SNO_WORKERS' }).getByText('environment').waitFor();
  expect(await page.locator('body').innerText()).not.toContain(ADMIN_TOKEN);
});

test('can be used by the keyboard alone', async () => {
  await page.goto(url());
  await page.reload();
  await panel('Live rates').waitFor();
  await page.keyboard.press('Tab');
  await page.locator('#skip:focus').waitFor();
  await page.keyboard.press('Enter');
  await page.locator('main:focus').waitFor();
  await page.reload();
  await panel('Live rates').waitFor();
  for (let presses = 0; presses < 20 && !(await page.locator('a:focus', { hasText: 'Settings' }).count()); presses++)
    await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  await panel('Settings in force').waitFor();
  await page.locator('main:focus').waitFor();
});

test('has enough contrast when it is dark, and fits on a phone', async () => {
  const other = await openDashboard(browser, url(), {
    colorScheme: 'dark',
    viewport: { width: 390, height: 844 },
    reducedMotion: 'reduce',
  });
  await signIn(other.page);
  for (const title of ['Overview', 'Channels', 'Access', 'Connections', 'Incidents', 'Processes', 'Settings']) {
    await other.view(title);
    await other.page.locator('main .panel').first().waitFor();
    await other.page.locator('main:not(:has(.loading))').waitFor();
    expect(await other.page.evaluate(accessibilityFaults)).toEqual([]);
    expect(await other.page.evaluate(() => document.documentElement.scrollWidth - innerWidth)).toBeLessThanOrEqual(0);
  }
  expect(other.complaints).toEqual([]);
  await other.page.context().close();
});

test('asks for nothing while its tab is hidden', async () => {
  const other = await openDashboard(browser, url(), {}, (fresh) => fresh.clock.install());
  await signIn(other.page);
  await other.page.getByRole('region', { name: 'Live rates' }).waitFor();
  const hide = (isHidden: boolean) =>
    other.page.evaluate((value) => {
      Object.defineProperty(document, 'hidden', { value, configurable: true });
      document.dispatchEvent(new Event('visibilitychange'));
    }, isHidden);
  await hide(true);
  const { length } = other.requests;
  await other.page.clock.runFor(60_000);
  expect(other.requests.slice(length)).toEqual([]);
  await hide(false);
  await until(() => other.requests.slice(length).some((address) => address.includes('/api/health')), 'it asks again');
  await other.page.context().close();
});

test('works below a path of a proxy', async () => {
  const proxy = await proxyBelow('/sno', service.adminPort);
  const other = await openDashboard(browser, proxy.url);
  await signIn(other.page);
  await other.page.getByRole('region', { name: 'Live rates' }).waitFor();
  expect(other.complaints).toEqual([]);
  await other.page.context().close();
  proxy.close();
});

test('says that the service does not answer, and goes on when it does', async () => {
  await dashboard.view('Overview');
  await page.context().setOffline(true);
  const health = page.getByRole('region', { name: 'Health' });
  await health.getByText('No answer', { exact: true }).waitFor();
  await panel('Replication slot').waitFor();
  await page.context().setOffline(false);
  await health.getByText('Degraded', { exact: true }).waitFor();
  expect(dashboard.complaints).toEqual([]);
});

test('forgets the token', async () => {
  await page.getByRole('button', { name: 'Forget the token' }).click();
  await page.getByLabel('Token', { exact: true }).waitFor();
  expect(await page.evaluate(() => sessionStorage.length)).toBe(0);
  expect(await page.locator('main .panel:not(.sign-in)').count()).toBe(0);
});
