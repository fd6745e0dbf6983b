import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import type pg from 'pg';
import { type Catalog, INSTALL_VERSION } from '../channels/catalog/catalog.ts';
import { foreseeCatalog, readCatalog } from '../channels/catalog/reader.ts';
import { ChannelRegistry } from '../channels/definitions/registry.ts';
import { loadParser } from '../channels/sql/parse.ts';
import { readSqlFile, type SqlFile } from '../channels/sql/sql-file.ts';
import { SnoError } from '../errors.ts';
import { createClient, createPlainClient } from '../postgres/connect.ts';
import { quoteIdentifier } from '../postgres/quote.ts';
import { readSetupFacts } from '../setup/facts.ts';
import { publicationOptions } from '../setup/plan.ts';
import { runSqlFiles } from '../setup/rules.ts';
import { misuse } from './arguments.ts';
import { adviceOf } from './check/advice.ts';
import { type ChannelReport, reportChannels } from './check/channel-report.ts';
import { checkReport } from './check/json.ts';
import { pathFaults } from './check/path-faults.ts';
import type { Command } from './command.ts';
import { withDatabase } from './database.ts';
import { counted, indented } from './report.ts';

/**
 * How long a statement of a checked file waits for a lock. The check holds the locks of its files
 * until it rolls back, so it must not wait long.
 */
const LOCK_TIMEOUT = '5s';
const INSTALL = fileURLToPath(new URL('../../sql/000001_install.sql', import.meta.url));

export const check: Command = {
  summary: 'check channels against a database: path, identity, warnings',
  usage: '[--json] [FILE...]',
  description:
    'For each channel: the table that it reads, its key, and how it is evaluated. For a refused channel: where and why,\n' +
    'and what to do. Warns about what costs much: REPLICA IDENTITY FULL on wide rows, access views that no index serves.\n' +
    'Applies the files first, in this order and in one transaction, and rolls it back: the database does not change.\n' +
    'Exits with 1 if a channel is refused or a file fails.',
  operands: { min: 0, max: Number.POSITIVE_INFINITY },
  flags: { json: { description: 'Print one JSON document, as docs/json.md describes it.' } },
  settings: ['SNO_DATABASE_URL', 'SNO_PUBLICATION'],
  async run({ operands, flags, settings }) {
    await loadParser();
    const files: SqlFile[] = [];
    for (const path of operands) files.push(await readFileAt(path));
    const reports = await withDatabase(settings, files.length === 0 ? createClient : createPlainClient, (client) =>
      rolledBack(client, async () => {
        const catalog = await catalogWith(client, settings.SNO_PUBLICATION, files);
        const registry = new ChannelRegistry(settings.SNO_PUBLICATION);
        registry.load(catalog);
        const faults = await pathFaults(client, catalog);
        return reportChannels(catalog, registry, { advice: await adviceOf(client, catalog, registry), faults }, files);
      }),
    );
    if (flags.has('json')) process.stdout.write(`${JSON.stringify(checkReport(reports), null, 2)}\n`);
    else print(reports);
    return reports.some(isRefused) ? 1 : 0;
  },
};

async function rolledBack<T>(client: pg.Client, work: () => Promise<T>): Promise<T> {
  await client.query(`begin; set local lock_timeout = '${LOCK_TIMEOUT}'`);
  try {
    return await work();
  } finally {
    await client.query('rollback');
  }
}

/**
 * Applies the files, and returns the catalog with them. The files run with the role's own
 * search_path, as in psql.
 */
async function catalogWith(client: pg.Client, publication: string, files: readonly SqlFile[]): Promise<Catalog> {
  if (files.length === 0) return readCatalog(client, publication);
  await prepare(client, publication);
  await runSqlFiles(client, files);
  return foreseeCatalog(client, publication);
}

async function readFileAt(path: string): Promise<SqlFile> {
  try {
    return await readSqlFile(path, path);
  } catch (error) {
    if (error instanceof SnoError) throw error;
    throw misuse('check', `cannot read ${path}: ${(error as Error).message}`);
  }
}

/** Creates the objects that setup creates, if it has not run. */
async function prepare(client: pg.Client, publication: string): Promise<void> {
  const { installed, serverVersion, publication: existing } = await readSetupFacts(client, publication);
  if (installed === undefined || installed < INSTALL_VERSION) await client.query(await readFile(INSTALL, 'utf8'));
  if (existing === undefined)
    await client.query(
      `create publication ${quoteIdentifier(publication)} with (${publicationOptions(serverVersion)})`,
    );
}

function isRefused({ refusals }: ChannelReport): boolean {
  return refusals.length > 0;
}

function print(reports: readonly ChannelReport[]): void {
  const refused = reports.filter(isRefused).length;
  // refused channels come last
  const ordered = [...reports.filter((report) => !isRefused(report)), ...reports.filter(isRefused)];
  const parts = [...ordered.map(paragraph), `${counted(reports.length, 'channel')}, ${refused} refused\n`];
  process.stdout.write(
    reports.length === 0 ? 'The database has no channels: create a view in schema channels.\n' : parts.join('\n'),
  );
}

function paragraph(report: ChannelReport): string {
  const { pattern, refusals, warnings } = report;
  const lines = [
    ...factsOf(report).map(([name, value]) => `${name.padEnd(9)} ${hanging(value)}`),
    ...refusals.map(({ code, message, hint }) => `refused   ${code}: ${hanging(message)}\n\n${indented(hint)}`),
    ...warnings.map((warning) => `warning   ${hanging(warning)}`),
  ];
  return `${pattern}\n${indented(lines.join('\n'))}\n`;
}

function factsOf({ isView, isPresence, isSend, source }: ChannelReport): readonly (readonly [string, string])[] {
  const extras: readonly (readonly [string, string])[] = [
    ...(isPresence ? ([['presence', 'subscribers may appear as members, by the presence view']] as const) : []),
    ...(isSend ? ([['sends', 'subscribers may send, by the send view']] as const) : []),
  ];
  if (source === undefined) return isView ? extras : [['carries', 'messages only: it has no channel view'], ...extras];
  const { table, key, identity, path } = source;
  return [['table', table], ['key', key.join(', ')], ['identity', identity], ['path', path], ...extras];
}

/** Indents further lines to the column of the first line's text. */
function hanging(text: string): string {
  return text.replace(/\n(?=.)/g, `\n${' '.repeat(10)}`);
}
