/** The channel views as the admin API shows them. */
import type { ChannelViewInfo, ViewClaims, ViewRefusal } from '../../admin/api/types.ts';
import type { ChannelView, Refusal } from '../../channels/channel.ts';
import type { RefusedChannel, ServedAccess, ServedChannel } from '../../channels/served/served.ts';
import { quoteIdentifier, readableName } from '../../postgres/quote.ts';
import type { ServiceView } from './view.ts';

/** The counters of a pattern. */
export interface PatternActivity {
  readonly channels: number;
  readonly isChannelCountExact: boolean;
  readonly subscribers: number;
  readonly events: ChannelViewInfo['events'];
  readonly lastEventAt: number | null;
}

type Known = Pick<ServiceView, 'ingest' | 'definitions'>;

/** The declared patterns, sorted. `search`: a part of the pattern, or of a table's name. */
export function patternsFound(known: Known, search: string): readonly string[] {
  const { definitions, ingest } = known;
  const all = [...(definitions?.served ?? []), ...(definitions?.refused ?? [])];
  const patterns = [...new Set(all.map(({ pattern }) => pattern.text))].sort();
  const text = search.toLowerCase();
  if (text === '') return patterns;
  const declared = new Map(ingest?.catalog?.channels.map((channel) => [channel.pattern, channel]));
  const names = tableNames(known);
  const isFound = (name: string) => name.toLowerCase().includes(text);
  const tablesOf = (pattern: string) => declared.get(pattern)?.reads.flatMap((oid) => names.get(oid) ?? []) ?? [];
  return patterns.filter((pattern) => isFound(pattern) || tablesOf(pattern).some(isFound));
}

export function refusalsIn({ ingest }: Known): readonly (ViewRefusal & { readonly pattern: string })[] {
  return (ingest?.registry.refusals() ?? []).map(refusalOf);
}

function refusalOf({ schema, pattern, error }: Refusal): ViewRefusal & { readonly pattern: string } {
  const view = `${schema}.${quoteIdentifier(pattern)}`;
  return { pattern, view, code: error.code, message: error.message, hint: error.hint };
}

/** The views of some patterns. */
export function viewInfos(
  known: Known,
  patterns: readonly string[],
  activityOf: (pattern: string) => PatternActivity,
): readonly ChannelViewInfo[] {
  const { ingest, definitions } = known;
  const served = new Map(definitions?.served.map((each) => [each.pattern.text, each]));
  const refused = new Map(definitions?.refused.map((each) => [each.pattern.text, each]));
  const views = new Map([...(ingest?.registry.views() ?? [])].map((view) => [view.pattern.text, view]));
  const refusals = refusalsIn(known);
  const names = tableNames(known);
  return patterns.map((pattern) => {
    const view = views.get(pattern);
    const declared = ingest?.catalog?.channels.find((channel) => channel.pattern === pattern);
    return {
      pattern,
      state: stateOf(served.get(pattern), refused.get(pattern)),
      path: view === undefined ? null : pathOf(view),
      tables: declared?.reads.flatMap((oid) => names.get(oid) ?? []) ?? [],
      columns: declared?.columns.map(({ name, type }) => ({ name, type })) ?? null,
      placeholders: placeholdersOf(served.get(pattern) ?? refused.get(pattern)),
      access: claimsOf(served.get(pattern)?.access),
      presence: claimsOf(served.get(pattern)?.presence),
      send: claimsOf(served.get(pattern)?.send),
      ...activityOf(pattern),
      warnings: [...(view?.warnings ?? []), ...(ingest?.registry.accessWarnings(pattern) ?? [])],
      refusals: refusals.filter((refusal) => refusal.pattern === pattern).map(({ pattern: _, ...refusal }) => refusal),
    };
  });
}

function stateOf(served: ServedChannel | undefined, refused: RefusedChannel | undefined): ChannelViewInfo['state'] {
  if (served !== undefined) return served.view === undefined ? 'messages' : 'served';
  return refused?.isAwaited === true ? 'awaited' : 'refused';
}

function pathOf({ remote, join, path }: ChannelView): ChannelViewInfo['path'] {
  if (join !== undefined) return { kind: 'joined', text: path };
  return { kind: remote === undefined ? 'in process' : 'by Postgres', text: path };
}

/** The names of tables, by oid. */
function tableNames({ ingest }: Known): ReadonlyMap<number, string> {
  const tables = ingest?.catalog?.tables ?? [];
  return new Map(
    tables.flatMap(({ oid, kind, schema, name }) => (kind === 'v' ? [] : [[oid, readableName(schema, name)]])),
  );
}

function placeholdersOf(declared: ServedChannel | RefusedChannel | undefined): ChannelViewInfo['placeholders'] {
  if (declared === undefined) return [];
  const types = 'valueTypes' in declared ? declared.valueTypes : [];
  return declared.pattern.columns.map((name, index) => ({ name, type: types[index] ?? 'unknown' }));
}

function claimsOf(view: ServedAccess | undefined): ViewClaims | null {
  return view === undefined ? null : { claims: view.claims.map(({ name, type }) => ({ name, type })) };
}
