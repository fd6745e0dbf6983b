/** The report of `sno check` on each channel, from the catalog and the registry. */
import type { AccessSchema, Catalog } from '../../channels/catalog/catalog.ts';
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
  /** Whether it has a channel view. */
  readonly isView: boolean;
  /** Whether it has a presence view, and a send view. */
  readonly isPresence: boolean;
  readonly isSend: boolean;
  /** Where its rows come from, for a channel view that Snö serves. */
  readonly source: ChannelSource | undefined;
  readonly refusals: readonly { readonly code: string; readonly message: string; readonly hint: string }[];
  readonly warnings: readonly string[];
}

export interface ChannelSource {
  readonly table: string;
  readonly key: readonly string[];
  readonly identity: (typeof IDENTITIES)[keyof typeof IDENTITIES];
  readonly evaluatedBy: 'process' | 'postgres';
  readonly path: string;
}

const IDENTITIES = { d: 'default', n: 'nothing', f: 'full', i: 'an index' } as const;

/**
 * Returns one report for each pattern, in the order of the patterns. Refusals of views that `files`
 * create show their place in the file.
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
  const has = (schema: AccessSchema) =>
    new Set(catalog.access.filter((one) => one.schema === schema).map(({ pattern }) => pattern));
  const [access, presence, send] = [has('channel_access'), has('channel_presence'), has('channel_send')];
  return [...patterns].sort().map((pattern) => {
    const view = views.get(pattern);
    const own = [
      ...registry.refusals().filter((refusal) => refusal.pattern === pattern),
      ...faults.filter((fault) => fault.pattern === pattern).map(refusalOf),
    ];
    return {
      pattern,
      isView: declared.has(pattern),
      isPresence: presence.has(pattern),
      isSend: send.has(pattern),
      source: view === undefined ? undefined : sourceOf(view),
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

function sourceOf({ tables: [table], path, remote }: ChannelView): ChannelSource {
  const key = (table.primaryKey ?? table.identityIndex ?? []).map(
    (number) => table.columns.find((column) => column.number === number)?.name ?? '',
  );
  return {
    table: readableName(table.schema, table.name),
    key,
    identity: IDENTITIES[table.replicaIdentity as keyof typeof IDENTITIES],
    evaluatedBy: remote === undefined ? 'process' : 'postgres',
    path,
  };
}

function undeclared(pattern: string): string {
  return `no client may join: create view channel_access.${quoteIdentifier(pattern)} as select ...`;
}
