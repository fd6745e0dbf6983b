import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { parseCatalog } from '../../src/channels/catalog/reader.ts';
import { ChannelRegistry } from '../../src/channels/definitions/registry.ts';
import { loadParser } from '../../src/channels/sql/parse.ts';
import { SnoError } from '../../src/errors.ts';
import { install } from '../support/install.ts';
import { freshDatabase, type TestDatabase, VERSIONS } from '../support/postgres.ts';

/** Presence and send views count as changed with the channel: other tests look at them. */
const ACCESS = 'channel_access:';

describe.each(VERSIONS)('the registry, Postgres %i', (version) => {
  let database: TestDatabase;
  beforeAll(async () => {
    await loadParser();
    database = await freshDatabase(version);
    await install(database);
  });
  afterEach(() =>
    database.query(`
      drop schema if exists channels, channel_access, app cascade;
      create schema channels; create schema channel_access; create schema app`),
  );
  afterAll(() => database.drop());

  const load = async (registry: ChannelRegistry, touched?: ReadonlySet<string>) => {
    const { rows } = await database.query<{ catalog: string }>('select sno.catalog()::text as catalog');
    const result = registry.load(parseCatalog(rows[0]?.catalog as string), touched);
    const { changed, dropped, accessChanged, refused } = result;
    return {
      changed: [...changed].sort(),
      dropped: [...dropped],
      accessChanged: [...accessChanged]
        .filter((view) => view.startsWith(ACCESS))
        .map((view) => view.slice(ACCESS.length))
        .sort(),
      refused: refused.map(({ schema, pattern, error }) => [schema, pattern, error.code]).sort(),
    };
  };

  const TASKS = `
    create schema if not exists app;
    create table app.tasks (id int primary key, project int, title text);
    alter table app.tasks replica identity full;
    create table app.members (project int, person text, primary key (project, person));
    create view channels."project:{project}" as select id, project, title from app.tasks;
    create view channel_access."project:{project}" as select project, person as sub from app.members;
    create view channel_access."chat:{project}" as select project, person as sub from app.members`;

  test('resolves names to views, with their values', async () => {
    await database.query(TASKS);
    const registry = new ChannelRegistry('sno');
    expect(await load(registry)).toEqual({
      changed: ['chat:{project}', 'project:{project}'],
      dropped: [],
      accessChanged: ['chat:{project}', 'project:{project}'],
      refused: [],
    });
    expect(registry.resolve('project:42')).toMatchObject({
      name: 'project:42',
      values: ['42'],
      valueTypes: ['integer'],
      pattern: { text: 'project:{project}' },
      view: { snapshot: { relation: 'channels."project:{project}"' } },
      access: { claims: [{ name: 'sub' }] },
    });
    expect(registry.resolve('chat:42')).toMatchObject({ view: undefined, access: { claims: [{ name: 'sub' }] } });
    expect(registry.patternOf('chat:42')).toBe('chat:{project}');
    const { rows } = await database.query<{ tasks: number; members: number }>(
      "select 'app.tasks'::regclass::oid::int as tasks, 'app.members'::regclass::oid::int as members",
    );
    expect(registry.viewsOf(rows[0]?.tasks as number).map(({ pattern }) => pattern.text)).toEqual([
      'project:{project}',
    ]);
    const sources = registry.accessOf(rows[0]?.members as number);
    expect(sources.map(({ pattern }) => pattern).sort()).toEqual(['chat:{project}', 'project:{project}']);
  });

  test.each([
    ['project:4 2', 'channel_invalid'],
    ['project:%34', 'channel_invalid'],
    ['', 'channel_invalid'],
    ['x'.repeat(1025), 'channel_invalid'],
    ['nothing:1', 'channel_unknown'],
  ])('refuses the name %s', async (name, code) => {
    await database.query(TASKS);
    const registry = new ChannelRegistry('sno');
    await load(registry);
    expect(registry.resolve(name)).toMatchObject({ code });
    expect(registry.patternOf(name)).toBeUndefined();
  });

  test('reports changed and unchanged views', async () => {
    await database.query(TASKS);
    await database.query('create view channels.other as select id from app.tasks');
    const registry = new ChannelRegistry('sno');
    await load(registry);
    const nothing = { changed: [], dropped: [], accessChanged: [], refused: [] };
    expect(await load(registry)).toEqual(nothing);
    const [before] = registry.views();
    await load(registry);
    expect([...registry.views()]).toContain(before);

    await database.query(
      'create or replace view channels."project:{project}" as select id, project, title from app.tasks where id > 0',
    );
    expect(await load(registry)).toEqual({ ...nothing, changed: ['project:{project}'] });
    await database.query(
      'create or replace view channel_access."project:{project}" as select project, person as sub from app.members where project > 0',
    );
    expect(await load(registry)).toEqual({ ...nothing, accessChanged: ['project:{project}'] });
    expect(await load(registry, new Set(['channels:other', 'channel_access:chat:{project}', 'channels:gone']))).toEqual(
      {
        ...nothing,
        changed: ['other'],
        accessChanged: ['chat:{project}'],
      },
    );
    await database.query('drop view channels.other');
    expect(await load(registry)).toEqual({ ...nothing, dropped: ['other'] });
    // Messages still come, but subscriptions to rows are void.
    await database.query('drop view channels."project:{project}"');
    expect(await load(registry)).toEqual({ ...nothing, changed: ['project:{project}'] });
    await database.query('drop view channel_access."project:{project}"');
    expect(await load(registry)).toEqual({ ...nothing, dropped: ['project:{project}'] });
  });

  test('refuses a view without leaking why, and serves it again when it is fixed', async () => {
    await database.query(TASKS);
    const registry = new ChannelRegistry('sno');
    await load(registry);
    await database.query('alter table app.tasks replica identity default');
    expect(await load(registry)).toEqual({
      changed: [],
      dropped: ['project:{project}'],
      accessChanged: [],
      refused: [['channels', 'project:{project}', 'replica_identity']],
    });
    expect((await load(registry)).refused).toEqual([]);
    expect(registry.refusals()).toHaveLength(1);
    const answer = registry.resolve('project:42');
    expect(answer).toMatchObject({ code: 'channel_unavailable' });
    expect((answer as SnoError).message).not.toMatch(/tasks|identity/i);
    expect([...registry.views()]).toEqual([]);
    await database.query('alter table app.tasks replica identity full');
    expect(await load(registry)).toMatchObject({
      changed: ['project:{project}'],
      accessChanged: ['project:{project}'],
    });
  });

  test('refuses the later of two patterns that could make one name', async () => {
    await database.query(TASKS);
    await database.query(`
      create view channels."project:{title}" as select id, title from app.tasks;
      create view channel_access."chat:lobby" as select person as sub from app.members`);
    const registry = new ChannelRegistry('sno');
    expect((await load(registry)).refused).toEqual([
      ['channel_access', 'chat:lobby', 'pattern_conflict'],
      ['channels', 'project:{title}', 'pattern_conflict'],
    ]);
    expect(registry.refusals().find(({ schema }) => schema === 'channels')?.error.message).toContain(
      '"project:{project}"',
    );
    expect(registry.resolve('project:42')).toMatchObject({ pattern: { text: 'project:{project}' } });
    await database.query('drop view channels."project:{project}", channel_access."project:{project}"');
    expect((await load(registry)).changed).toEqual(['project:{title}']);
  });

  test('refuses views whose tables are not published, with the SQL that fixes it', async () => {
    await database.query(TASKS);
    await database.query('alter publication sno drop table app.tasks, app.members');
    const registry = new ChannelRegistry('sno');
    await load(registry);
    expect(registry.refusals().map(({ schema, error }) => [schema, error.code, error.hint])).toEqual(
      expect.arrayContaining([
        ['channels', 'table_unpublished', 'alter publication sno add table only app.tasks;'],
        ['channel_access', 'table_unpublished', 'alter publication sno add table only app.members;'],
      ]),
    );
    for (const { error } of registry.refusals()) await database.query(error.hint).catch(() => undefined);
    await load(registry);
    expect(registry.refusals()).toEqual([]);
  });

  test('refuses an access view over a table whose revocations would be invisible', async () => {
    await database.query(`
      create schema if not exists app;
      create table app.keyless (person text);
      create view channel_access.lobby as select person as sub from app.keyless`);
    const registry = new ChannelRegistry('sno');
    await load(registry);
    const [refusal] = registry.refusals();
    expect(refusal).toMatchObject({ schema: 'channel_access', error: { code: 'table_unpublished' } });
    await database.query(refusal?.error.hint as string);
    await load(registry);
    expect(registry.resolve('lobby')).toMatchObject({ access: { claims: [{ name: 'sub' }] } });
  });

  test('refuses a partitioned table whose partitions send other old rows than its identity says', async () => {
    await database.query(`
      create schema if not exists app;
      create table app.logs (id int, at int, body text, primary key (id, at)) partition by range (at);
      create table app.logs_1 partition of app.logs for values from (1) to (2);
      create view channels."logs:{body}" as select id, at, body from app.logs`);
    await database.query(
      'alter event trigger sno_ddl disable; alter table only app.logs replica identity full; alter event trigger sno_ddl enable always',
    );
    const registry = new ChannelRegistry('sno');
    await load(registry);
    const [refusal] = registry.refusals();
    expect(refusal?.error).toMatchObject({
      code: 'replica_identity',
      hint: 'alter table only app.logs_1 replica identity full;',
    });
    await database.query(refusal?.error.hint as string);
    await load(registry);
    expect(registry.refusals()).toEqual([]);
  });

  test('refuses an invalid pattern, and resolves no name to it', async () => {
    await database.query(`${TASKS}; create view channels."{id}{title}" as select id, title from app.tasks`);
    const registry = new ChannelRegistry('sno');
    expect((await load(registry)).refused).toEqual([['channels', '{id}{title}', 'pattern_invalid']]);
    expect(registry.resolve('1x')).toBeInstanceOf(SnoError);
  });

  test('an invalid catalog is reported as one of another version', () => {
    for (const json of ['', '{}', '{"channels":[{}],"access":[],"tables":[],"types":[],"published":[]}'])
      expect(() => parseCatalog(json)).toThrow(expect.objectContaining({ code: 'setup_required' }));
  });
});
