import { once } from 'node:events';
import { createServer, type IncomingMessage, type RequestOptions, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type DemoServer, startDemoServer } from '../../src/demo/server.ts';

let ran: string[];
let server: DemoServer;

beforeEach(async () => {
  ran = [];
  server = await startDemoServer({
    port: 0,
    run: async (sql) => {
      ran.push(sql);
      return { ok: true, statements: [], xid: null, elapsed_ms: 1 };
    },
    token: async () => 'the token',
  });
});

afterEach(() => server.close());

async function ask(
  path: string,
  options: RequestOptions = {},
  body?: string,
): Promise<{ status: number; headers: IncomingMessage['headers']; text: string }> {
  const sent = request(new URL(path, server.url), options);
  sent.end(body);
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  let text = '';
  for await (const chunk of response.setEncoding('utf8')) text += chunk;
  return { status: response.statusCode ?? 0, headers: response.headers, text };
}

const JSON_TYPE = { 'content-type': 'application/json' };
const post = (headers: Record<string, string>, body: string) => ask('/sql', { method: 'POST', headers }, body);

describe('the demo server', () => {
  test('serves the page and its files, under a strict policy', async () => {
    const page = await ask('/');
    expect(page.status).toBe(200);
    expect(page.headers['content-type']).toBe('text/html; charset=utf-8');
    expect(page.headers['content-security-policy']).toMatch("default-src 'none'; script-src 'self'; style-src 'self'");
    const files = [...page.text.matchAll(/(?:href|src)="([\w./]+\.(?:css|svg))"/g)].map(([, name]) => `/${name}`);
    expect(files.length).toBeGreaterThan(1);
    for (const file of files) expect((await ask(file)).status, file).toBe(200);
  });

  test('serves a page without inline scripts and styles, which the policy would forbid', async () => {
    const { text } = await ask('/');
    expect(text).not.toMatch(/<script(?![^>]* src=)|<style| style=| on\w+=/);
    expect(text).not.toMatch(/https?:\/\//);
  });

  test.each(['/server.ts', '/page/index.html', '/..%2fserver.ts', '/app.ts', '/index.html'])(
    'does not serve %s',
    async (path) => {
      expect((await ask(path)).status).toBe(404);
    },
  );

  test.each([
    ['of its page', {}],
    ['with its own origin', { origin: 'OWN' }],
  ])('runs SQL %s', async (_, headers: Record<string, string>) => {
    const own = Object.fromEntries(Object.keys(headers).map((name) => [name, server.origins[0] as string]));
    const answer = await post({ ...JSON_TYPE, ...own }, '{"sql":"select 1"}');
    expect(answer.status).toBe(200);
    expect(JSON.parse(answer.text)).toEqual({ ok: true, statements: [], xid: null, elapsed_ms: 1 });
    expect(ran).toEqual(['select 1']);
  });

  test('answers requests to localhost too', async () => {
    const { host } = new URL(server.origins[1] as string);
    expect(host).toMatch(/^localhost:/);
    expect((await post({ ...JSON_TYPE, host, origin: `http://${host}` }, '{"sql":"select 1"}')).status).toBe(200);
  });

  test.each([
    ['another host (DNS rebinding)', { ...JSON_TYPE, host: 'evil.example' }, '{"sql":"select 1"}', 403],
    ['another port', { ...JSON_TYPE, host: '127.0.0.1:1' }, '{"sql":"select 1"}', 403],
    ['another origin', { ...JSON_TYPE, origin: 'https://evil.example' }, '{"sql":"select 1"}', 403],
    ['an opaque origin', { ...JSON_TYPE, origin: 'null' }, '{"sql":"select 1"}', 403],
    ['text/plain (which a form can send)', { 'content-type': 'text/plain' }, '{"sql":"select 1"}', 415],
    ['a form', { 'content-type': 'application/x-www-form-urlencoded' }, 'sql=select+1', 415],
    ['a body that is not JSON', JSON_TYPE, 'select 1', 400],
    ['no text', JSON_TYPE, '{"sql":""}', 400],
    ['no sql', JSON_TYPE, '{}', 400],
    ['too much SQL', JSON_TYPE, JSON.stringify({ sql: 'x'.repeat(20_001) }), 400],
    ['far too much', JSON_TYPE, JSON.stringify({ sql: 'x'.repeat(200_000) }), 413],
  ])('refuses %s', async (_, headers: Record<string, string>, body, status) => {
    expect((await post(headers, body)).status).toBe(status);
    expect(ran).toEqual([]);
  });

  test('does not give its token to other hosts', async () => {
    server.connectTo({ url: 'ws://127.0.0.1:1234/v1', clientUrl: 'http://127.0.0.1:1234/sno.js' });
    expect((await ask('/session', { headers: { host: 'evil.example' } })).text).not.toMatch('the token');
  });

  test("tells the page Snö's address once Snö runs, and allows connections only there", async () => {
    expect((await ask('/session')).status).toBe(503);
    server.connectTo({ url: 'ws://127.0.0.1:1234/v1', clientUrl: 'http://127.0.0.1:1234/sno.js' });
    const session = await ask('/session');
    expect(JSON.parse(session.text)).toEqual({ url: 'ws://127.0.0.1:1234/v1', token: 'the token' });
    expect(session.headers['content-security-policy']).toMatch("connect-src 'self' ws://127.0.0.1:1234;");
    expect(session.headers['access-control-allow-origin']).toBeUndefined();
  });

  test('serves the client that Snö serves', async () => {
    const sno = createServer((_request, response) => response.end('export const connect = 1;')).listen(0, '127.0.0.1');
    await once(sno, 'listening');
    const { port } = sno.address() as AddressInfo;
    server.connectTo({ url: `ws://127.0.0.1:${port}/v1`, clientUrl: `http://127.0.0.1:${port}/sno.js` });
    const script = await ask('/sno.js');
    expect(script.headers['content-type']).toBe('text/javascript; charset=utf-8');
    expect(script.text).toBe('export const connect = 1;');
    sno.closeAllConnections();
    sno.close();
  });

  test('tells which port is in use', async () => {
    const port = Number(new URL(server.url).port);
    const options = {
      port,
      run: async () => ({ ok: true, statements: [], xid: null, elapsed_ms: 0 }) as const,
      token: async () => '',
    };
    await expect(startDemoServer(options)).rejects.toMatchObject({
      code: 'address_in_use',
      message: `port ${port} on 127.0.0.1 is already in use`,
    });
  });

  test('uses the next port if the usual one is in use', async () => {
    const options = {
      run: async () => ({ ok: true, statements: [], xid: null, elapsed_ms: 0 }) as const,
      token: async () => '',
    };
    const first = await startDemoServer(options);
    const second = await startDemoServer(options);
    const [low, high] = [first, second].map(({ url }) => Number(new URL(url).port)) as [number, number];
    await Promise.all([first.close(), second.close()]);
    expect(low).toBeGreaterThanOrEqual(8080);
    expect(high).toBeGreaterThan(low);
  });
});
