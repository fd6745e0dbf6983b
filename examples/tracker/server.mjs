// A small project tracker: the "existing app" of docs/tutorial.md. It knows nothing of Snö yet.
//
//     DATABASE_URL=postgres://... node server.mjs
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import pg from 'pg';

const PORT = Number(process.env.PORT ?? 3000);
const db = new pg.Pool({ connectionString: process.env.DATABASE_URL });

const routes = {
  '/': async (_user, _url, response) => {
    response.setHeader('content-type', 'text/html; charset=utf-8');
    return readFile('index.html');
  },

  '/login': async (_user, url, response) => {
    const { rows } = await db.query('select id from sessions where user_id = $1', [url.searchParams.get('user')]);
    response.setHeader('set-cookie', `session=${rows[0]?.id}; HttpOnly; SameSite=Strict; Path=/`);
    response.writeHead(303, { location: `/?project=${url.searchParams.get('project') ?? 1}` });
    return '';
  },

  '/tasks': async (user, url) => {
    const sql = `select t.id, t.title, t.status, t.assignee_id from tasks t
      join project_members m on m.project_id = t.project_id and m.user_id = $1 where t.project_id = $2 order by t.id`;
    const { rows } = await db.query(sql, [user, url.searchParams.get('project')]);
    return JSON.stringify(rows);
  },
};

createServer((request, response) => void answer(request, response)).listen(PORT, '127.0.0.1', () =>
  console.log(`http://127.0.0.1:${PORT}/login?user=bob`),
);

async function answer(request, response) {
  const url = new URL(request.url, 'http://localhost');
  const route = routes[url.pathname];
  try {
    const user = await userOf(request);
    if (route === undefined) response.writeHead(404).end();
    else if (user === undefined && url.pathname !== '/login') response.writeHead(401).end('Sign in at /login?user=bob');
    else response.end(await route(user, url, response));
  } catch (error) {
    console.error(error);
    response.writeHead(500).end();
  }
}

async function userOf({ headers }) {
  const [, session] = /(?:^|; )session=([\w-]+)/.exec(headers.cookie ?? '') ?? [];
  const { rows } = await db.query('select user_id from sessions where id = $1', [session]);
  return rows[0]?.user_id;
}
