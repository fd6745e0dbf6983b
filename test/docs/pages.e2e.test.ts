/** A reader follows the README and the pages of docs to the letter, each with its own database. */

import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { launchBrowser } from '../support/browser.ts';
import { until } from '../support/wait.ts';
import { Reader } from './reader.ts';

let browser: Browser;
beforeAll(async () => {
  browser = await launchBrowser();
});
afterAll(() => browser.close());

async function reading(work: (reader: Reader) => Promise<void>): Promise<void> {
  const reader = await Reader.arrive();
  try {
    await work(reader);
  } finally {
    await reader.leave();
  }
}

/** What the pages presume, beside the installed package. */
const VARIABLES = `export SNO_DATABASE_URL=postgres://postgres:postgres@127.0.0.1:5432/app
export SNO_JWT_SECRET=a-development-secret-of-32-bytes`;

/** What a page presumes in the database. */
const PRESUMED: Readonly<Record<string, string>> = {
  // Electric's slot and publication.
  'docs/howto/from-electric.md': `
    select pg_create_logical_replication_slot('electric_slot_default', 'pgoutput');
    create publication electric_publication_default;`,
  'docs/sse.md': `
    create table tasks (id int primary key, project_id int, title text); insert into tasks values (1, 42, 'Paint');
    alter table tasks replica identity full;
    create view channels."project:{project_id}" as select id, project_id, title from tasks;
    create view channel_access."project:{project_id}" as select 42 as project_id, 'ada' as sub;`,
};

/** Waits until a page, opened at this address, shows a text. */
async function seen(reader: Reader, url: string, text: string, then?: () => Promise<void>): Promise<string> {
  const page = await browser.newPage();
  try {
    await page.goto(reader.here(url));
    const body = () => page.innerText('body');
    await until(async () => (await body()).includes(text), `the page shows ${text}`);
    await then?.();
    return await body();
  } finally {
    await page.close();
  }
}

test('README.md works as it is written, to the page in a browser', () =>
  reading(async (reader) => {
    await reader.follow('README.md');
    expect(await seen(reader, 'http://127.0.0.1:3000', 'Sand the table')).not.toContain('Paint');
  }));

test('docs/tutorial.md turns an app that polls into one that is live', () =>
  reading(async (reader) => {
    await reader.follow('docs/tutorial.md');
    expect((await fetch(reader.here('http://127.0.0.1:9443/'))).headers.get('content-type')).toMatch('text/html');
    await reader.database.query("insert into project_members values (1, 'bob')");
    await seen(reader, 'http://127.0.0.1:3000/login?user=bob', 'Buy green paint', async () => {
      await reader.database.query("update tasks set title = 'Buy red paint' where id = 1");
    });
    await seen(reader, 'http://127.0.0.1:3000/login?user=bob', 'Buy red paint');
  }));

test('the pages about databases, installing and deploying work as they are written, one after the other', () =>
  reading(async (reader) => {
    for (const page of ['docs/howto/managed-postgres.md', 'docs/howto/install.md', 'docs/howto/deploy.md'])
      await reader.follow(page);
  }));

describe('beside a running Snö', () => {
  let reader: Reader;
  beforeAll(async () => {
    reader = await Reader.arrive();
    await reader.run(VARIABLES);
    await reader.start('npx sno start', 'sno');
  });
  afterAll(() => reader.leave());

  test.each([
    'docs/channels.md',
    'docs/migrations.md',
    'docs/howto/worker.md',
    'docs/howto/multi-tenant.md',
    'docs/howto/optimistic-ui.md',
    'docs/howto/from-publish-api.md',
    'docs/howto/from-electric.md',
    'docs/howto/from-sequin.md',
    'docs/howto/from-supabase-realtime.md',
    'docs/admin-api.md',
    'docs/sse.md',
    // The last one: it starts Snö with another key.
    'docs/howto/token-server.md',
  ])('%s works as it is written', async (page) => {
    // The tables of the page before, with the views over them.
    await reader.database.query('drop schema public cascade; create schema public');
    await reader.database.query(PRESUMED[page] ?? '');
    await reader.follow(page);
  });
});
