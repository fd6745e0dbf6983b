/**
 * The built client on other platforms: each supported line of Node, with Node's own WebSocket if it
 * has one, and Chromium.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { SnoClient } from '../../src/client/index.ts';
import { type Stage, stage } from '../service/stage.ts';
import { launchBrowser } from '../support/browser.ts';
import { findNode } from '../support/nodes.ts';
import { plainEnvironment } from '../support/service.ts';
import { until } from '../support/wait.ts';

const fileOf = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
const PROGRAM = fileOf('./platform.mjs');
const CLIENT = fileOf('../../dist/client/index.js');
const BUNDLE = fileOf('../../dist/sno.js');
const ORIGIN = 'https://app.test';
const PAGE =
  '<!doctype html><title>app</title><script type=module>import * as sno from "/sno.js"; globalThis.lib = sno</script>';

const SCHEMA = `
  create table notes (id int primary key, room int not null, body text not null);
  alter table notes replica identity full;
  create schema channels;
  create view channels."room:{room}" as select id, room, body from notes;
`;

let here: Stage;
beforeAll(async () => {
  here = await stage(SCHEMA, { SNO_ALLOWED_ORIGINS: ORIGIN });
});
afterAll(() => here.end());

describe.each([20, 22, 24] as const)('Node %i', (line) => {
  let executable: string;
  beforeAll(async () => {
    executable = line === 20 ? process.execPath : await findNode(line);
  }, 300_000);

  test('reports a closed port, shows rows, and reconnects after kill -9', async () => {
    const { url, certificate } = here.service;
    const env = { ...plainEnvironment(), NODE_EXTRA_CA_CERTS: certificate.certFile };
    const child = spawn(executable, [PROGRAM, CLIENT, url], { env, stdio: ['ignore', 'pipe', 'inherit'] });
    const said: Record<string, unknown>[] = [];
    createInterface({ input: child.stdout }).on('line', (text) => said.push(JSON.parse(text)));
    const exited = once(child, 'exit');
    const lives = () => said.filter(({ status }) => status === 'live').length;
    try {
      await until(() => lives() >= 1, 'live');
      await here.service.kill();
      await until(() => said.at(-1)?.['status'] === 'stale', 'the loss');
      await here.service.restart();
      await until(() => said.at(-1)?.['status'] === 'live', 'live again');
      await here.query(`insert into notes values (${line}, 1, 'last')`);
      expect(await exited).toEqual([0, null]);
    } finally {
      child.kill();
    }
    await here.query(`update notes set body = 'before' where id = ${line}`);
    expect(said[0]).toEqual({ refused: 'connect_failed', message: expect.stringContaining('wss://127.0.0.1:1/v1') });
    expect(said.find((happening) => 'rows' in happening)?.['rows']).toContainEqual({ id: line, room: 1, body: 'last' });
    expect(said.at(-1)).toEqual({ closed: true });
  });
});

describe('Chromium', () => {
  let browser: Browser;
  let page: Page;
  beforeAll(async () => {
    browser = await launchBrowser();
  });
  afterAll(() => browser.close());

  /** Opens a page of an origin, whose client connects to `url`. */
  async function open(origin: string, url: string): Promise<void> {
    page = await browser.newPage({ ignoreHTTPSErrors: true });
    const bundle = await readFile(BUNDLE, 'utf8');
    await page.route(`${origin}/**`, (route) =>
      route.fulfill(
        route.request().url().endsWith('/sno.js')
          ? { contentType: 'text/javascript', body: bundle }
          : { contentType: 'text/html', body: PAGE },
      ),
    );
    await page.goto(`${origin}/`);
    await page.waitForFunction(() => 'lib' in globalThis);
    await page.evaluate((address) => {
      const { lib } = globalThis as unknown as { lib: typeof import('../../src/client/index.ts') };
      const sno = lib.connect(address, { backoff: { baseMs: 10, capMs: 100 } });
      Object.assign(globalThis, { sno, view: sno.live('room:1') });
    }, url);
  }

  const told = () =>
    page.evaluate(() => {
      const { sno, view } = globalThis as unknown as { sno: SnoClient; view: ReturnType<SnoClient['live']> };
      return { status: view.status, client: sno.status, code: sno.error?.code, message: sno.error?.message };
    });

  test('reports a refused origin, and what to check', async () => {
    await open('https://other.test', here.service.url);
    await until(async () => (await told()).code, 'the refusal');
    expect(await told()).toMatchObject({
      code: 'connect_failed',
      message: expect.stringMatching(/SNO_ALLOWED_ORIGINS includes https:\/\/other\.test/),
    });
    await page.close();
  });

  test('reports that a secure page may not open an insecure websocket', async () => {
    await open(ORIGIN, 'ws://sno.test');
    await until(async () => (await told()).client === 'closed', 'the end');
    expect(await told()).toMatchObject({ status: 'closed', code: 'websocket_refused' });
    await page.close();
  });

  test('when the network returns, a connection that no longer answers is dropped within seconds', async () => {
    await open(ORIGIN, here.service.url);
    await until(async () => (await told()).status === 'live', 'live');
    process.kill(here.service.pid, 'SIGSTOP');
    try {
      await page.evaluate(() => dispatchEvent(new Event('online')));
      await until(async () => (await told()).code === 'connection_silent', 'the connection is given up');
    } finally {
      process.kill(here.service.pid, 'SIGCONT');
    }
    await until(async () => (await told()).status === 'live', 'live again');
    await page.close();
  });
});
