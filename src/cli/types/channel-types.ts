/** Writes the rows, keys and placeholders of all channels as TypeScript. */
import type pg from 'pg';
import type { Catalog, CatalogTable } from '../../channels/catalog/catalog.ts';
import type { ChannelRegistry } from '../../channels/definitions/registry.ts';
import { DECLARATIONS, JsonTypes, literalOf, orNull, propertyOf } from './json-types.ts';
import { sourcesOf } from './nullability.ts';

const HEAD = `/**
 * The channels of the database. Written by \`sno types\`: run it again after a migration.
 *
 *     const sno = connect<Channels>('wss://example.com/v1');
 */
`;

interface Member {
  readonly name: string;
  readonly type: string;
}

/** Returns the text of the file. The same definitions give the same text. */
export async function channelTypes(client: pg.Client, catalog: Catalog, registry: ChannelRegistry): Promise<string> {
  const types = await JsonTypes.read(client, typesOf(catalog));
  const dimensions = await readDimensions(client, catalog.tables);
  const views = new Map([...registry.views()].map((view) => [view.pattern.text, view]));
  const refused = new Set(registry.refusals().map(({ pattern }) => pattern));
  const declared = new Map(catalog.channels.map((channel) => [channel.pattern, channel]));
  // Their placeholders have the types of the first view.
  const access = new Map(catalog.access.toReversed().map((view) => [view.pattern, view]));
  const parts: string[] = [];
  for (const pattern of [...new Set([...views.keys(), ...access.keys()])].sort()) {
    const view = views.get(pattern);
    const channel = declared.get(pattern);
    if (view === undefined && (refused.has(pattern) || channel !== undefined)) continue;
    const placeholders = placeholdersOf(pattern);
    const columns = (channel ?? access.get(pattern))?.columns ?? [];
    const values = placeholders.map((name) => ({
      name,
      type: types.placeholderOf(columns.find((column) => column.name === name)?.typeOid ?? 0),
    }));
    if (view === undefined || channel === undefined) {
      parts.push(entry(pattern, 'Published messages only.', undefined, undefined, values));
      continue;
    }
    const sources = sourcesOf(channel, catalog);
    const row = channel.columns.map(({ name, typeOid }, index) => {
      const { column, isNotNull = false } = sources[index] ?? {};
      const value = types.valueOf(
        typeOid,
        column === undefined ? 0 : dimensions.get(`${view.tables[0].oid} ${column.number}`),
      );
      // An expression may be NULL though its type is a domain with NOT NULL. A placeholder is NULL
      // in no row of a channel.
      const isNever = isNotNull || (column !== undefined && types.isNeverNull(typeOid)) || placeholders.includes(name);
      return { name, type: isNever ? value : orNull(value) };
    });
    const key = (view.tables[0].primaryKey ?? view.tables[0].identityIndex ?? []).map((number) => {
      const column = view.tables[0].columns.find((each) => each.number === number);
      return { name: column?.name ?? '', type: types.valueOf(column?.typeOid ?? 0) };
    });
    parts.push(entry(pattern, undefined, row, key, values));
  }
  return `${HEAD}export interface Channels {\n${parts.join('')}}\n\n${DECLARATIONS}`;
}

function entry(
  pattern: string,
  comment: string | undefined,
  row: readonly Member[] | undefined,
  key: readonly Member[] | undefined,
  values: readonly Member[],
): string {
  const lines = [
    ...(comment === undefined ? [] : [`  /** ${comment} */`]),
    `  ${literalOf(pattern)}: {`,
    ...block('row', row),
    ...block('key', key),
    ...block('values', values),
    '  };',
  ];
  return `${lines.join('\n')}\n`;
}

function block(name: string, members: readonly Member[] | undefined): readonly string[] {
  if (members === undefined) return [`    ${name}: never;`];
  if (members.length === 0) return [`    ${name}: {};`];
  return [`    ${name}: {`, ...members.map((member) => `      ${propertyOf(member.name)}: ${member.type};`), '    };'];
}

function placeholdersOf(text: string): readonly string[] {
  return [...text.matchAll(/\{([^{}]+)\}/g)].map((match) => match[1] as string);
}

function typesOf(catalog: Catalog): number[] {
  const relations = [...catalog.channels, ...catalog.access, ...catalog.tables];
  return relations.flatMap(({ columns }) => columns.map(({ typeOid }) => typeOid));
}

/** Declared dimensions of array columns, by table and column number. */
async function readDimensions(
  client: pg.Client,
  tables: readonly CatalogTable[],
): Promise<ReadonlyMap<string, number>> {
  const { rows } = await client.query<{ readonly place: string; readonly dimensions: string }>(
    `select attrelid || ' ' || attnum as place, attndims as dimensions from pg_attribute
     where attrelid = any($1::oid[]) and attnum > 0 and attndims > 0`,
    [tables.map(({ oid }) => oid)],
  );
  return new Map(rows.map(({ place, dimensions }) => [place, Number(dimensions)]));
}
