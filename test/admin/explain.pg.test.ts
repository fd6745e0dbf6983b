/** Why a token may join a channel, or why not, on a real database. */
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createTokens } from '../../src/access/token.ts';
import type { ExplainRequest, Explanation } from '../../src/admin/api/types.ts';
import { ChannelRegistry } from '../../src/channels/definitions/registry.ts';
import { loadParser } from '../../src/channels/sql/parse.ts';
import { readSettings } from '../../src/config/read.ts';
import { Explainer } from '../../src/roles/explain/explainer.ts';
import { refusalsIn } from '../../src/roles/inspect/channel-views.ts';
import { catalogOf } from '../channels/compiled.ts';
import { install } from '../support/install.ts';
import { freshDatabase, type TestDatabase, VERSIONS } from '../support/postgres.ts';

const SECRET = 'a secret of the tests, thirty-two bytes';
const SQL = `
  create table tasks (id int primary key, project_id int not null, title text);
  create table memberships (project_id int, user_id text, accepted_at timestamptz, org text, level int);
  alter table tasks replica identity full; alter table memberships replica identity full;
  insert into memberships values
    (42, 'ada', now(), 'acme', 3), (42, 'bob', null, 'acme', 3), (43, 'carol', now(), 'other', 3);
  create view channels."project:{project_id}" as select id, project_id, title from tasks;
  create view channel_access."project:{project_id}" as
    select project_id, user_id as sub from memberships where accepted_at is not null and level > 1;
  create view channel_access."plain:{project_id}" as select project_id, user_id as sub from memberships;
  create view channel_access."org:{project_id}" as
    select project_id, user_id as sub, org as "app.org", level from memberships;
  create table teams (name text primary key, is_active bool); create table team_members (team text, user_id text, roles text[]);
  insert into teams values ('red', true), ('grey', false);
  insert into team_members values ('red', 'ada', '{viewer,editor}'), ('grey', 'bob', '{editor}');
  create view channel_access."joined:{team}" as
    select t.name as team, m.user_id as sub, unnest(m.roles) as "realm.roles"
    from teams t join team_members m on m.team = t.name where t.is_active;
  create view channel_access."public:{project_id}" as select project_id from memberships;
  create view channels."closed:{id}" as select id, title from tasks;
  create view channels."refused:{id}" as select id, count(*) as n from tasks group by id;
  create function unwell(text) returns text immutable language plpgsql as $$ begin raise exception 'unwell'; end $$;
  create view channel_access."unwell:{project_id}" as select project_id, unwell(user_id) as sub from memberships;
`;
/** A value of another user's row. No answer may have it. */
const OTHERS = /carol|bob/;

describe.each(VERSIONS)('an explanation, Postgres %i', (version) => {
  let database: TestDatabase;
  let explainer: Explainer;
  let explainerWith: (settings: Readonly<Record<string, string>>) => Explainer;
  const sign = (claims: Readonly<Record<string, unknown>>, secret = SECRET, expires = '1h') =>
    new SignJWT(claims).setProtectedHeader({ alg: 'HS256' }).setExpirationTime(expires).sign(Buffer.from(secret));
  const explain = (request: ExplainRequest): Promise<Explanation> => explainer.explain(request);

  beforeAll(async () => {
    await loadParser();
    database = await freshDatabase(version);
    await install(database, { eventTriggers: false });
    await database.query(`${SQL} alter publication sno add table tasks, memberships`);
    const registry = new ChannelRegistry('sno');
    const catalog = await catalogOf(database);
    // As if the service had published the tables.
    registry.load({ ...catalog, publishing: [], published: catalog.tables.map(({ oid }) => oid) });
    const definitions = registry.served;
    const ingest = { registry } as unknown as NonNullable<Parameters<typeof refusalsIn>[0]['ingest']>;
    explainerWith = (more) => {
      const settings = readSettings({ SNO_DATABASE_URL: database.url, ...more });
      return new Explainer({
        databaseUrl: database.url,
        settings,
        tokens: () => createTokens(settings),
        definitions: () => definitions,
        refusalsOf: (pattern) => refusalsIn({ ingest, definitions }).filter((each) => each.pattern === pattern),
      });
    };
    explainer = explainerWith({ SNO_JWT_SECRET: SECRET, SNO_JWT_AUDIENCE: 'app' });
  });
  afterAll(async () => {
    await explainer.close();
    await database.drop();
  });

  test('a valid token with a row may join', async () => {
    const answer = await explain({
      channel: 'project:42',
      token: `Bearer ${await sign({ sub: 'ada', aud: 'app' })}\n`,
    });
    expect(answer).toMatchObject({
      verdict: 'allowed',
      summary: 'the token may join project:42',
      needed: [],
      told: null,
      token: { state: 'verified', claims: { sub: 'ada' } },
      resolution: { state: 'found', pattern: 'project:{project_id}', values: [{ value: '42', isValid: true }] },
      access: { state: 'allowed', definition: expect.stringContaining('accepted_at IS NOT NULL') },
    });
  });

  test('the column without a row is named, and no row of others is shown', async () => {
    const answer = await explain({ channel: 'plain:42', claims: { sub: 'dora' } });
    expect(answer.access).toMatchObject({
      state: 'denied',
      conditions: [
        {
          column: 'project_id',
          by: 'channel',
          state: 'ok',
          hasRowAlone: true,
          hasRowSoFar: true,
          hasRowWithout: false,
        },
        { column: 'sub', by: 'claim', state: 'no row', hasRowAlone: false, hasRowSoFar: false, hasRowWithout: true },
      ],
    });
    expect(answer.needed).toEqual([
      {
        text: expect.stringContaining('the view has no row with sub = "dora"'),
        remedy: {
          language: 'sql',
          text: "insert into public.memberships (project_id, user_id) values ('42', 'dora');",
        },
      },
    ]);
    expect(answer.told).toMatchObject({ code: 'access_denied' });
    expect(JSON.stringify(answer)).not.toMatch(OTHERS);
  });

  test('a user of another channel, and a channel without a row, are told apart', async () => {
    const unfit = await explain({ channel: 'project:43', claims: { sub: 'ada' } });
    expect(unfit.needed).toEqual([
      {
        text: expect.stringMatching(
          /^a row of .* and sub = 'ada', for which .*accepted_at IS NOT NULL and .*level > 1 holds/,
        ),
        remedy: {
          language: 'sql',
          text: `select * from channel_access."project:{project_id}" where project_id = '43' and sub = 'ada';`,
        },
      },
    ]);
    const other = await explain({ channel: 'plain:43', claims: { sub: 'ada' } });
    expect(other.access?.conditions.map(({ state }) => state)).toEqual(['no row', 'no row']);
    expect(other.access?.conditions[1]?.message).toBe('rows fit all other columns, but none of them has sub = "ada"');
    const empty = await explain({ channel: 'plain:77', claims: { sub: 'ada' } });
    expect(empty.access?.conditions[0]).toMatchObject({ column: 'project_id', state: 'no row', hasRowAlone: false });
    expect(empty.summary).toContain('the view has no row with project_id = "77" (from the channel)');
  });

  test('a condition of the view itself that leaves the row out is named', async () => {
    const answer = await explain({ channel: 'project:42', claims: { sub: 'bob' } });
    expect(answer.access?.filters).toEqual([
      { text: expect.stringMatching(/^(memberships\.)?accepted_at IS NOT NULL$/), holds: false },
      { text: expect.stringMatching(/^(memberships\.)?level > 1$/), holds: true },
    ]);
    expect(answer.needed.map(({ text }) => text)).toEqual([
      expect.stringMatching(
        /^the row fits all columns, but the view leaves it out: .*accepted_at IS NOT NULL does not/,
      ),
    ]);
  });

  test.each([
    ['no token', { channel: 'project:42' }, ['missing'], 'there is no token'],
    [
      'a claim that is missing',
      { channel: 'org:42', claims: { sub: 'ada', level: 3 } },
      ['missing'],
      'a claim app.org',
    ],
    [
      'a claim of another type',
      { channel: 'org:42', claims: { sub: 'ada', app: { org: 'acme' }, level: 'high' } },
      ['invalid'],
      'a claim level of type integer',
    ],
  ])('%s is reported without a query for rows', async (_, request, states, text) => {
    const { access, needed, verdict } = await explain(request);
    expect(verdict).toBe('refused');
    expect(access?.conditions.map(({ state }) => state).filter((state) => state !== 'ok')).toEqual(states);
    expect(needed[0]?.text).toContain(text);
  });

  test('an array claim fits by any of its elements, a nested claim by its path', async () => {
    const claims = { sub: ['x', 'ada'], app: { org: 'acme' }, level: '3' };
    expect((await explain({ channel: 'org:42', claims })).verdict).toBe('allowed');
    const { access } = await explain({ channel: 'org:42', claims: { ...claims, app: { org: 'none' } } });
    expect(access?.conditions.find(({ column }) => column === 'app.org')).toMatchObject({
      state: 'no row',
      hasRowWithout: true,
    });
  });

  test('an access view that joins tables is asked as it is, with a claim that is nested and an array', async () => {
    const claims = { sub: 'ada', realm: { roles: ['none', 'editor'] } };
    expect((await explain({ channel: 'joined:red', claims })).verdict).toBe('allowed');
    const unfit = await explain({ channel: 'joined:red', claims: { ...claims, realm: { roles: ['none'] } } });
    expect(unfit.access?.conditions.map(({ state }) => state)).toEqual(['ok', 'ok', 'no row']);
    const left = await explain({ channel: 'joined:grey', claims: { ...claims, sub: 'bob' } });
    expect(left).toMatchObject({ verdict: 'refused', access: { definition: expect.stringContaining('JOIN') } });
    expect(left.summary).toContain('the view leaves it out: t.is_active does not hold');
  });

  test('a token with the id of a key that the key server does not have is refused, and the id is shown', async () => {
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const keys = createServer((_, response) => {
      response.end(JSON.stringify({ keys: [{ ...publicKey.export({ format: 'jwk' }), kid: 'known', use: 'sig' }] }));
    });
    await once(keys.listen(0, '127.0.0.1'), 'listening');
    const url = `http://127.0.0.1:${(keys.address() as AddressInfo).port}/`;
    const byServer = explainerWith({ SNO_JWKS_URL: url });
    const tokenOf = async (kid: string) =>
      (
        await byServer.explain({
          channel: 'plain:42',
          token: await new SignJWT({ sub: 'ada' })
            .setProtectedHeader({ alg: 'ES256', kid })
            .setExpirationTime('1h')
            .sign(privateKey),
        })
      ).token;
    expect(await tokenOf('known')).toMatchObject({ state: 'verified' });
    const unknown = await tokenOf('other');
    expect(unknown).toMatchObject({ state: 'refused', code: 'token_invalid' });
    expect(unknown.checks).toContainEqual({
      name: 'key',
      isRight: false,
      found: 'other',
      wanted: 'a key of the key server (SNO_JWKS_URL)',
    });
    await byServer.close();
    keys.closeAllConnections();
    keys.close();
  });

  test('what is wrong with a token is shown as found and as wanted, and its claims are used all the same', async () => {
    const forged = await explain({ channel: 'plain:42', token: await sign({ sub: 'ada', aud: 'app' }, `${SECRET}!`) });
    expect(forged).toMatchObject({
      verdict: 'refused',
      token: { state: 'refused', code: 'token_invalid', claims: { sub: 'ada' } },
      access: { state: 'allowed' },
      told: { code: 'token_invalid' },
    });
    expect(forged.needed[0]?.text).toContain('signed with another key');
    const wrong = await explain({ channel: 'plain:42', token: await sign({ sub: 'dora', aud: 'web' }) });
    expect(wrong.token.checks).toContainEqual({ name: 'audience', isRight: false, found: 'web', wanted: 'app' });
    expect(wrong.needed.length).toBe(2);
    const late = await explain({ channel: 'plain:42', token: await sign({ sub: 'ada', aud: 'app' }, SECRET, '-1h') });
    expect(late.token).toMatchObject({ code: 'token_expired' });
    expect(late.token.checks.find(({ name }) => name === 'expires')?.isRight).toBe(false);
    const text = await explain({ channel: 'plain:42', token: 'not a token' });
    expect(text.token).toMatchObject({ state: 'refused', claims: null, checks: [] });
  });

  test('the database is asked for the time of the answer: a new row counts at once', async () => {
    const request = { channel: 'plain:44', claims: { sub: "o'hara" } };
    const before = await explain(request);
    expect(before.verdict).toBe('refused');
    await database.query(before.needed[0]?.remedy?.text ?? '');
    expect((await explain(request)).verdict).toBe('allowed');
  });

  test.each([
    ['projekt:42', 'channel_unknown', 'did you mean project:{project_id}?'],
    ['project:042', 'channel_unknown', '"042" is not one'],
    ['project:x', 'channel_unknown', 'a value of type integer for {project_id}'],
    ['project 42', 'channel_invalid', 'this is not a canonical channel name'],
    ['refused:1', 'channel_unavailable', 'GROUP BY is not supported'],
    ['closed:1', 'access_undeclared', 'the access view channel_access."closed:{id}"'],
  ])('the name %s gets %s', async (channel, code, text) => {
    const { verdict, needed, told } = await explain({ channel, claims: { sub: 'ada' } });
    expect([verdict, told?.code]).toEqual(['refused', code]);
    expect(needed[0]?.text).toContain(text);
  });

  test('a public channel needs no claim, and a view that raises an error says which', async () => {
    expect((await explain({ channel: 'public:42' })).summary).toBe('a client without a token may join public:42');
    const unwell = await explain({ channel: 'unwell:42', claims: { sub: 'ada' } });
    expect(unwell).toMatchObject({ verdict: 'unknown', access: { state: 'failed', message: 'unwell' } });
  });

  test('a claim is bound, whatever it holds', async () => {
    const claims = { sub: `'; drop table memberships; --"\\{}` };
    expect((await explain({ channel: 'plain:42', claims })).verdict).toBe('refused');
    const { rows } = await database.query('select count(*)::int as n from memberships');
    expect(rows).toEqual([{ n: expect.any(Number) }]);
  });
});
