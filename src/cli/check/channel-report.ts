/** What `sno check` reports of each channel, from the catalog and the registry. */
import type { Catalog } from '../../channels/catalog/catalog.ts';
import type { ChannelView, Refusal } from '../../channels/channel.ts';
import type { ChannelRegistry } from '../../channels/definitions/registry.ts';
import type { SqlFile } from '../../channels/sql/sql-file.ts';
import { SnoError } from '../../errors.ts';
import { quoteIdentifier, readableName } from '../../postgres/quote.ts';
import type { Advice } from './advice.ts';
import type { PathFault } from './path-faults.ts';
import { placedMessage } from './view-place.ts';

export interface ChannelReport {
  readonly pattern: string;
  /** Names and values, for a channel that Snö serves. */
  readonly facts: readonly (readonly [name: string, value: string])[];
  readonly refusals: readonly { readonly code: string; readonly message: string; readonly hint: string }[];
  readonly warnings: readonly string[];
}

const IDENTITIES: Readonly<Record<string, string>> = { d: 'default', n: 'nothing', f: 'full', i: 'an index' };

/**
 * One report a pattern, in the order of the patterns. What `files` make is shown where it stands
 * there.
 */
export function reportChannels(
  catalog: Catalog,
  registry: ChannelRegistry,
  { advice, faults }: { readonly advice: Advice; readonly faults: readonly PathFault[] },
  files: readonly SqlFile[],
): readonly ChannelReport[] {
  const patterns = new Set([...catalog.channels, ...catalog.access].map(({ pattern }) => pattern));
  const views = new Map([...registry.views()].map((view) => [view.pattern.text, view]));
  const declared = new Set(catalog.channels.map(({ pattern }) => pattern));
  const access = new Set(catalog.access.map(({ pattern }) => pattern));
  return [...patterns].sort().map((pattern) => {
    const view = views.get(pattern);
    const own = [
      ...registry.refusals().filter((refusal) => refusal.pattern === pattern),
      ...faults.filter((fault) => fault.pattern === pattern).map(refusalOf),
    ];
    return {
      pattern,
      facts: view === undefined ? messagesOnly(declared.has(pattern)) : tableFacts(view),
      refusals: own.map((refusal) => ({
        code: refusal.error.code,
        message: placedMessage(refusal, files),
        hint: refusal.error.hint,
      })),
      warnings: [
        ...(view?.warnings ?? []),
        ...(advice.get(pattern) ?? []),
        ...registry.accessWarnings(pattern),
        ...(access.has(pattern) ? [] : [undeclared(pattern)]),
      ],
    };
  });
}

function refusalOf({ schema, pattern, message, hint }: PathFault): Refusal {
  return { schema, pattern, error: new SnoError('channel_refused', message, { hint }) };
}

function messagesOnly(isDeclared: boolean): ChannelReport['facts'] {
  return isDeclared ? [] : [['carries', 'published messages only: it has no channel view']];
}

function tableFacts({ table, path }: ChannelView): ChannelReport['facts'] {
  const key = (table.primaryKey ?? table.identityIndex ?? []).map(
    (number) => table.columns.find((column) => column.number === number)?.name ?? '',
  );
  return [
    ['table', readableName(table.schema, table.name)],
    ['key', key.join(', ')],
    ['identity', IDENTITIES[table.replicaIdentity] ?? table.replicaIdentity],
    ['path', path],
  ];
}

function undeclared(pattern: string): string {
  return `no client may join: create view channel_access.${quoteIdentifier(pattern)} as select ...`;
}
