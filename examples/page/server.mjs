// The sample app of docker-compose.yml: a page, a token for it, and two writes to Postgres.
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { SignJWT } from 'jose';
import pg from 'pg';

const { DATABASE_URL, SNO_JWT_SECRET, PAGE_HOST = '127.0.0.1', PAGE_PORT = '3000' } = process.env;
const db = new pg.Pool({ connectionString: DATABASE_URL });
const secret = new TextEncoder().encode(SNO_JWT_SECRET);
const USER = 'ada'; // an app has sessions instead

const routes = {
  async 'GET /'(_body, response) {
    response.setHeader('content-type', 'text/html; charset=utf-8');
    return readFile(new URL('index.html', import.meta.url));
  },
  'GET /token': () =>
    new SignJWT({}).setProtectedHeader({ alg: 'HS256' }).setSubject(USER).setExpirationTime('10m').sign(secret),
  async 'POST /tasks'({ title }) {
    await db.query('insert into tasks (list, title) values ($1, $2)', [USER, String(title)]);
    return '';
  },
  async 'POST /done'({ id }) {
    await db.query('update tasks set done = true where list = $1 and id = $2', [USER, id]);
    return '';
  },
};

createServer((request, response) => void answer(request, response)).listen(Number(PAGE_PORT), PAGE_HOST, () =>
  console.log(`http://127.0.0.1:${PAGE_PORT}`),
);

async function answer(request, response) {
  const { pathname } = new URL(request.url, 'http://localhost');
  const route = routes[`${request.method} ${pathname}`];
  if (route === undefined) return response.writeHead(404).end();
  try {
    response.end(await route(await bodyOf(request), response));
  } catch (error) {
    console.error(error);
    response.writeHead(500).end();
  }
}

/** Only JSON: a page of another site cannot send it without asking first. */
async function bodyOf(request) {
  if (request.headers['content-type'] !== 'application/json') return {};
  let text = '';
  for await (const part of request) {
    text += part;
    if (text.length > 10_000) throw new Error('the body is too large');
  }
  return JSON.parse(text);
}
