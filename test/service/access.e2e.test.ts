/** Which clients may join: access views and tokens, from the signature to the row. */
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { exportJWK, type JWK, SignJWT } from 'jose';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { VERSIONS } from '../support/postgres.ts';
import { signToken } from '../support/service.ts';
import { until } from '../support/wait.ts';
import { type Frame, RawClient } from './raw-client.ts';
import { type Stage, stage } from './stage.ts';

const SCHEMA = `
  create table tasks (id int primary key, project int not null, title text);
  alter table tasks replica identity full;
  create table members (project int, user_id text, org text, primary key (project, user_id));
  insert into members values (1, 'u1', 'red'), (2, 'u2', 'blue'), (3, 'u1', 'green');
  create schema channels;
  create view channels."project:{project}" as select id, project, title from tasks;
  create view channel_access."project:{project}" as select project, user_id as sub from members;
  create view channels."org:{project}" as select id, project from tasks;
  create view channel_access."org:{project}" as select project, org as orgs from members;
  create view channels."both:{project}" as select id, project from tasks;
  create view channel_access."both:{project}" as select project, user_id as sub, org as orgs from members;
  create view channels."public:{project}" as select id, project from tasks;
  create view channel_access."public:{project}" as select distinct project from members;
  create view channels."closed:{project}" as select id, project from tasks;
`;

/** The frame's type, and its code if it has one. */
const outcome = ({ type, code }: Frame) => (code === undefined ? type : `${type} ${code}`);

async function ask(here: Stage, token: string | undefined, channel: string): Promise<string> {
  const client = await RawClient.open(here.service, token);
  const answer = client.subscribe(channel).then(outcome);
  const result = await Promise.race([answer, client.closed.then((code) => `closed ${code}`)]);
  answer.catch(() => undefined);
  client.cut();
  return result;
}

describe.each(VERSIONS)('Postgres %i: access views', (version) => {
  let here: Stage;
  beforeAll(async () => {
    here = await stage(SCHEMA, { SNO_ACCESS: 'views' }, version);
  });
  afterAll(() => here.end());

  test.each([
    [{ sub: 'u1' }, 'project:1', 'subscribed'],
    [{ sub: 'u1' }, 'project:2', 'error access_denied'],
    [{ sub: 'u1' }, 'project:4', 'error access_denied'],
    [{ sub: 'u3' }, 'project:1', 'error access_denied'],
    [{}, 'project:1', 'error access_denied'],
    [{ sub: "u1' or true --" }, 'project:1', 'error access_denied'],
    [{ orgs: ['blue', 'red'] }, 'org:1', 'subscribed'],
    [{ orgs: ['blue', 'red'] }, 'org:2', 'subscribed'],
    [{ orgs: ['blue', 'red'] }, 'org:3', 'error access_denied'],
    [{ orgs: 'green' }, 'org:3', 'subscribed'],
    [{ orgs: [] }, 'org:1', 'error access_denied'],
    [{ orgs: ['red'], sub: 'u1' }, 'both:1', 'subscribed'],
    [{ orgs: ['red'], sub: 'u2' }, 'both:1', 'error access_denied'],
    [{ orgs: ['red'] }, 'both:1', 'error access_denied'],
    [{ sub: 'anybody' }, 'public:1', 'subscribed'],
    [{}, 'public:9', 'error access_denied'],
    [{ sub: 'u1' }, 'closed:1', 'error access_undeclared'],
    [{ sub: 'u1' }, 'project:x', 'error channel_unknown'],
  ])('%j may join %s: %s', async (claims, channel, expected) => {
    expect(await ask(here, await signToken(claims), channel)).toBe(expected);
  });

  test('a client without a token may join only public channels', async () => {
    expect(await ask(here, undefined, 'public:1')).toBe('subscribed');
    expect(await ask(here, undefined, 'project:1')).toBe('error access_denied');
  });

  test('a refused client receives no definition; the log has the view to create', async () => {
    const client = await RawClient.open(here.service, await signToken({ sub: 'u9' }));
    const { message } = await client.subscribe('closed:1');
    const told = [message];
    for (const channel of ['project:1', 'project:x', 'public:9', 'nothing:1', 'no channel'])
      told.push((await client.subscribe(channel)).message);
    for (const text of told)
      expect(text).not.toMatch(/select|create view (?!in)|\{|channel_access\.|user_id|members|tasks/);
    const logged = await until(() => here.service.log.find(({ code }) => code === 'access_undeclared'), 'the line');
    expect(logged['hint']).toContain(
      'create view channel_access."closed:{project}" as select project, user_id as sub from',
    );
    client.cut();
  });

  test('no token, a missing claim and a missing row have different messages; the log has the claims that the view asks for', async () => {
    const messages: (string | undefined)[] = [];
    for (const token of [undefined, await signToken({ role: 'r' }), await signToken({ sub: 'u2', role: 'r' })]) {
      const client = await RawClient.open(here.service, token);
      messages.push((await client.subscribe('project:1')).message);
      client.cut();
    }
    expect(messages).toEqual([
      expect.stringMatching(/^this connection has no token and may not join project:1\./),
      expect.stringMatching(/^this token may not join project:1: it lacks the claim .* has the claims "role", "exp"\./),
      expect.stringMatching(/^this token may not join project:1; it has the claims "sub", "role", "exp"\./),
    ]);
    const reasons = await until(() => {
      const lines = here.service.log.filter(({ code, reason }) => code === 'access_denied' && reason !== undefined);
      return lines.some(({ reason }) => reason === 'claim missing') && lines;
    }, 'the lines');
    expect(reasons).toContainEqual(
      expect.objectContaining({
        level: 'warn',
        msg: expect.stringMatching(
          /channel_access\."project:{project}" has no row .* asks for the claims sub \(text\), which is missing; the token has/,
        ),
      }),
    );
  });

  test('a refused subscription is counted and receives no rows', async () => {
    const before = await here.metric('sno_denials_total{code="access_denied"}');
    const client = await RawClient.open(here.service, await signToken({ sub: 'u9' }));
    await client.subscribe('project:1', { snapshot: true });
    expect(client.frames.map(outcome)).toEqual(['welcome', 'error access_denied']);
    expect(await here.metric('sno_denials_total{code="access_denied"}')).toBe(before + 1);
    client.cut();
  });

  test('a new token that allows less ends the subscriptions that it does not allow; one that allows more lets the client join', async () => {
    const client = await RawClient.open(here.service, await signToken({ sub: 'u1' }));
    for (const channel of ['project:1', 'public:1']) await client.subscribe(channel);
    client.send({ type: 'token', token: await signToken({ sub: 'u2' }) });
    const ended = await client.wait('the end', 0, ({ type }) => type === 'unsubscribed');
    expect(ended).toEqual({ type: 'unsubscribed', channel: 'project:1', code: 'access_revoked' });
    expect(outcome(await client.subscribe('project:2'))).toBe('subscribed');
    expect(client.of('public:1', 'unsubscribed')).toEqual([]);
    client.cut();
  });

  test('an expired, a foreign and a malformed token close the connection with 4401', async () => {
    const foreign = new SignJWT({ sub: 'u1' }).setProtectedHeader({ alg: 'HS256' });
    const tokens = [
      [await signToken({ sub: 'u1' }, '-1h'), 'token_expired'],
      [await foreign.sign(Buffer.from('another secret, as long as the other one')), 'token_invalid'],
      ['rubbish', 'token_invalid'],
    ] as const;
    for (const [token, code] of tokens) {
      const client = await RawClient.open(here.service, token);
      expect(await client.closed).toBe(4401);
      expect(client.frames.map(outcome)).toEqual([`error ${code}`]);
    }
  });

  test('an expired token ends its subscriptions, and the connection stays open', async () => {
    // valid only within the tolerance for clocks
    const client = await RawClient.open(here.service, await signToken({ sub: 'u1' }, '-3s'));
    expect(outcome(await client.subscribe('project:1'))).toBe('subscribed');
    const ended = await client.wait('the end', 0, ({ type }) => type === 'unsubscribed');
    expect(ended).toEqual({ type: 'unsubscribed', channel: 'project:1', code: 'token_expired' });
    expect(outcome(await client.subscribe('project:1'))).toBe('error token_expired');
    client.send({ type: 'token', token: await signToken({ sub: 'u1' }) });
    expect(outcome(await client.subscribe('project:1'))).toBe('subscribed');
    client.cut();
  });
});

describe('keys', () => {
  let here: Stage | undefined;
  afterEach(() => here?.end());

  const sign = (key: KeyObject, alg: string, kid?: string) =>
    new SignJWT({ sub: 'u1' })
      .setProtectedHeader({ alg, ...(kid === undefined ? {} : { kid }) })
      .setExpirationTime('1h')
      .sign(key);
  const pem = (key: KeyObject) => key.export({ type: 'spki', format: 'pem' }) as string;

  test('an RSA public key (RS256), an EC public key (ES256) and a key server each verify their own tokens', async () => {
    const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const keys: JWK[] = [{ ...(await exportJWK(ec.publicKey)), kid: 'k1', alg: 'ES256' }];
    const server = createServer((_, response) => response.end(JSON.stringify({ keys })));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    const none = { SNO_ACCESS: 'views', SNO_JWT_SECRET: '' };
    try {
      here = await stage(SCHEMA, {
        ...none,
        SNO_JWT_PUBLIC_KEY: pem(rsa.publicKey),
        SNO_JWKS_URL: `http://127.0.0.1:${port}/`,
      });
      expect(await ask(here, await sign(rsa.privateKey, 'RS256'), 'project:1')).toBe('subscribed');
      expect(await ask(here, await sign(ec.privateKey, 'ES256', 'k1'), 'project:1')).toBe('subscribed');
      const strange = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
      expect(await ask(here, await sign(strange, 'ES256', 'k1'), 'project:1')).toBe('closed 4401');
      expect(await ask(here, await signToken({ sub: 'u1' }), 'project:1')).toBe('closed 4401');
    } finally {
      server.close();
    }
  });

  test('SNO_ACCESS=open lets every client join every channel and logs a warning', async () => {
    here = await stage(SCHEMA, { SNO_ACCESS: 'open' });
    for (const channel of ['project:2', 'closed:1']) expect(await ask(here, undefined, channel)).toBe('subscribed');
    expect(await ask(here, undefined, 'project:x')).toBe('error channel_unknown');
    expect(here.service.log.find(({ msg }) => msg.startsWith('SNO_ACCESS=open'))?.level).toBe('warn');
  });
});
