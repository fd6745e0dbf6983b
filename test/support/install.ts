/** Installs Snö's SQL in a test's database, as `sno setup` does. */
import { readFile } from 'node:fs/promises';
import { publicationOptions } from '../../src/setup/plan.ts';
import type { TestDatabase } from './postgres.ts';

const INSTALL = new URL('../../sql/000001_install.sql', import.meta.url);
const EVENT_TRIGGER = new URL('../../sql/000002_event_trigger.sql', import.meta.url);

export async function install(
  database: TestDatabase,
  parts: { readonly eventTriggers: boolean } = { eventTriggers: true },
): Promise<void> {
  await database.query(`begin; ${await readFile(INSTALL, 'utf8')}; commit`);
  if (parts.eventTriggers) await database.query(`begin; ${await readFile(EVENT_TRIGGER, 'utf8')}; commit`);
  await database.query(`create publication sno with (${publicationOptions(database.version * 10_000)})`);
}
