import { readFile, writeFile } from 'node:fs/promises';
import type pg from 'pg';
import type { Catalog } from '../channels/catalog/catalog.ts';
import { readCatalog } from '../channels/catalog/reader.ts';
import { ChannelRegistry } from '../channels/definitions/registry.ts';
import { loadParser } from '../channels/sql/parse.ts';
import { createClient } from '../postgres/connect.ts';
import { misuse } from './arguments.ts';
import type { Command, ExitCode, Invocation } from './command.ts';
import { withDatabase } from './database.ts';
import { channelTypes } from './types/channel-types.ts';

export const types: Command = {
  summary: 'write the rows, keys and placeholders of all channels as TypeScript',
  usage: '[--out FILE] [--check]',
  description:
    'For `connect<Channels>()` of the client library, which then knows the rows of each channel by its name.\n' +
    'The text is the same for the same definitions, so the file can be committed. Refused channels are left out.\n' +
    'With --check, compares the file and does not write it. Exits with 1 if it differs.',
  operands: { min: 0, max: 0 },
  flags: {
    out: { value: 'FILE', description: 'the file to write; without it, standard output' },
    check: { description: 'compare the file of --out with the database' },
  },
  settings: ['SNO_DATABASE_URL', 'SNO_PUBLICATION'],
  async run({ flags, settings }: Invocation): Promise<ExitCode> {
    const file = flags.get('out')?.[0];
    if (flags.has('check') && file === undefined) throw misuse('types', '--check needs --out FILE');
    await loadParser();
    const { text, refused } = await withDatabase(settings, createClient, async (client) => {
      const catalog = asPublished(await readCatalog(client, settings.SNO_PUBLICATION));
      const registry = new ChannelRegistry(settings.SNO_PUBLICATION);
      registry.load(catalog);
      const patterns = new Set(registry.refusals().map(({ pattern }) => pattern));
      return { text: await inOneState(client, () => channelTypes(client, catalog, registry)), refused: [...patterns] };
    });
    for (const pattern of refused.sort())
      process.stderr.write(`${pattern} is left out: Snö refuses it. \`sno check\` says why.\n`);
    if (file === undefined) process.stdout.write(text);
    else if (flags.has('check')) return compare(file, text);
    else await writeFile(file, text);
    return 0;
  },
};

/**
 * Treats all tables as published, since types do not depend on the publication: Snö may never have
 * run on a database for development.
 */
function asPublished(catalog: Catalog): Catalog {
  const oids = [...catalog.tables.map(({ oid }) => oid), ...catalog.access.flatMap(({ reads }) => reads)];
  return { ...catalog, published: [...catalog.published, ...catalog.publishing, ...oids], publishing: [] };
}

/** Runs queries that must see the same definitions. */
async function inOneState<T>(client: pg.Client, work: () => Promise<T>): Promise<T> {
  await client.query('begin isolation level repeatable read, read only');
  try {
    return await work();
  } finally {
    await client.query('rollback');
  }
}

async function compare(file: string, text: string): Promise<ExitCode> {
  const written = await readFile(file, 'utf8').catch(() => undefined);
  if (written?.replaceAll('\r\n', '\n') === text) return 0;
  process.stderr.write(
    `${file} ${written === undefined ? 'cannot be read' : 'differs from the database'}: run sno types --out ${file}\n`,
  );
  return 1;
}
