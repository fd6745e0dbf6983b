/** An invalid part of the catalog affects only the views that need it. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Catalog } from '../../src/channels/catalog/catalog.ts';
import { parseCatalog } from '../../src/channels/catalog/reader.ts';
import { ChannelRegistry } from '../../src/channels/definitions/registry.ts';
import { loadParser } from '../../src/channels/sql/parse.ts';
import { SnoError } from '../../src/errors.ts';
import { install } from '../support/install.ts';
import { freshDatabase, type TestDatabase } from '../support/postgres.ts';

let database: TestDatabase;
let catalog: Catalog;

beforeAll(async () => {
  await loadParser();
  database = await freshDatabase();
  await install(database);
  await database.query(`
    create domain label as text check (value <> '');
    create function shout(text) returns text immutable language sql as 'select upper($1)';
    create table a (id int primary key, project int not null, title label, twice int generated always as (project * 2) stored);
    alter table a replica identity full;
    create table b (id int primary key, team int not null, title text);
    alter table b replica identity full;
    create table a_members (project int, person text, primary key (project, person));
    create table b_members (team int, person text, primary key (team, person));
    create view a_live as select id, project, title, twice from a where title is not null;
    create view a_people as select project, person from a_members where person <> '';
    create view channels."a:{project}" as select id, project, shout(title) as title, twice from a_live where project > 0;
    create view channel_access."a:{project}" as select project, person as sub from a_people where exists (select from a where id = 1);
    create view channels."b:{team}" as select id, team, title from b;
    create view channel_access."b:{team}" as select team, person as sub from b_members`);
  const { rows } = await database.query<{ catalog: string }>('select sno.catalog()::text as catalog');
  catalog = parseCatalog(rows[0]?.catalog as string);
});
afterAll(() => database.drop());

const UNREADABLE = [
  ' SELECT lag(id) IGNORE NULLS OVER (ORDER BY id) AS id FROM a;',
  ' SELECT id, project FROM GRAPH_TABLE (g MATCH (x) COLUMNS (x.id));',
  " SELECT 'é' AS é, \\u0001 ~~~ FROM ONLY (",
  ' TABLE a;',
  ' VALUES (1);',
  'create table x ()',
  "select 'unterminated",
  'select',
  ';',
  '',
];
/** Values are used in turn. Their number has no common factor with the number of places. */
const VALUES_PER_PLACE = 2;
const VALUES: readonly unknown[] = [undefined, null, 0, -1, 'x', [], {}, [null], [{}], ...UNREADABLE];

/** Every place in a part of the catalog, as the path of members to it. */
function* places(value: unknown, path: readonly string[] = []): Iterable<readonly string[]> {
  if (path.length > 0) yield path;
  if (typeof value !== 'object' || value === null) return;
  for (const [member, inner] of Object.entries(value)) yield* places(inner, [...path, member]);
}

function mutated<Part>(part: Part, path: readonly string[], value: unknown): Part {
  const copy = structuredClone(part);
  const inner = path.slice(0, -1).reduce((at, member) => (at as Record<string, unknown>)[member], copy as unknown);
  (inner as Record<string, unknown>)[path.at(-1) as string] = value;
  return copy;
}

/** Catalogs with one changed place in the parts that only the views `a:{project}` use. */
function* mutants(): Iterable<{ readonly where: string; readonly catalog: Catalog }> {
  const own = {
    channels: catalog.channels.findIndex(({ pattern }) => pattern === 'a:{project}'),
    access: catalog.access.findIndex(({ pattern }) => pattern === 'a:{project}'),
    tables: catalog.tables.findIndex(({ name }) => name === 'a'),
    types: catalog.types.findIndex(({ name }) => name === 'label'),
  };
  const below = catalog.tables.flatMap(({ name }, index) => (name === 'a_live' ? [index] : []));
  let turn = 0;
  for (const [kind, indexes] of Object.entries({ ...own, tables: [own.tables, ...below] })) {
    const parts = catalog[kind as keyof typeof own] as readonly unknown[];
    for (const index of [indexes].flat())
      for (const path of places(parts[index]))
        for (let number = 0; number < VALUES_PER_PLACE; number++) {
          // the part must still name its view
          if (path.length === 1 && (path[0] === 'oid' || path[0] === 'pattern')) continue;
          const value = VALUES[turn++ % VALUES.length];
          const changed = parts.map((part, at) => (at === index ? mutated(part, path, value) : part));
          yield {
            where: `${kind} ${path.join('.')} ${JSON.stringify(value)}`,
            catalog: { ...catalog, [kind]: changed },
          };
        }
  }
}

test('an invalid part refuses the views that need it, and no other', () => {
  const registry = new ChannelRegistry('sno');
  expect(registry.load(catalog).refused.map(({ error }) => error.message)).toEqual([]);
  const faults: string[] = [];
  let count = 0;
  let refused = 0;
  for (const { where, catalog: mutant } of mutants()) {
    count++;
    try {
      const { dropped, changed } = registry.load(mutant);
      const other = registry.resolve('b:7');
      if (other instanceof SnoError || other.view === undefined || other.access === undefined)
        faults.push(`${where}: b is not served`);
      if (dropped.has('b:{team}') || changed.has('b:{team}')) faults.push(`${where}: b is touched`);
      const one = registry.resolve('a:7');
      if (one instanceof SnoError) refused++;
      if (one instanceof SnoError && !registry.refusals().some(({ pattern }) => pattern === 'a:{project}'))
        faults.push(`${where}: a is refused without a reason`);
    } catch (error) {
      faults.push(`${where}: ${(error as Error).stack}`);
    }
  }
  expect(faults).toEqual([]);
  expect(count).toBeGreaterThan(300);
  expect(refused).toBeGreaterThan(30);
});

test.each(UNREADABLE)(
  'handles the definition %j in an access view, below one, in a channel view, and below one',
  (definition) => {
    const withDefinition = (part: keyof Pick<Catalog, 'channels' | 'access'>): Catalog => ({
      ...catalog,
      [part]: catalog[part].map((each) => (each.pattern === 'a:{project}' ? { ...each, definition } : each)),
    });
    const below = (name: string): Catalog => {
      const known = catalog.tables.find((table) => table.name === name)?.definition;
      return {
        ...catalog,
        access: catalog.access.map((each) => ({
          ...each,
          through: each.through.map((text) => (text === known ? definition : text)),
        })),
        tables: catalog.tables.map((table) => (table.name === name ? { ...table, definition } : table)),
      };
    };
    for (const [mutant, name] of [
      [withDefinition('channels'), 'channels."a:{project}"'],
      [withDefinition('access'), 'channel_access."a:{project}"'],
      [below('a_live'), 'a_live'],
      [below('a_people'), 'a_people'],
    ] as const) {
      const registry = new ChannelRegistry('sno');
      registry.load(mutant);
      const messages = registry.refusals().map(({ error }) => error.message);
      // the grammar reads these as SELECTs, and an access view may be any SELECT
      const isSelect = /^ (TABLE|VALUES)|^select$/.test(definition);
      if (!isSelect || registry.resolve('a:7') instanceof SnoError)
        expect(messages).toContainEqual(expect.stringContaining(isSelect ? 'a:{project}' : name));
      expect(registry.resolve('b:7')).not.toBeInstanceOf(SnoError);
    }
  },
);
