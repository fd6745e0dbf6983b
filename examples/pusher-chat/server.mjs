// A chat by pusher-js that has moved from Pusher to Snö. The page connects to another host, and
// the server publishes nothing: a message is a row, and the row is the event.
//
//     psql "$DATABASE_URL" -f schema.sql
//     SNO_PUSHER_APP_ID=1001 SNO_PUSHER_KEY=chat-key SNO_PUSHER_SECRET=... SNO_JWT_SECRET=... \
//       SNO_ALLOWED_ORIGINS=http://127.0.0.1:3000 sno start
//     SNO_URL=http://127.0.0.1:8443 SNO_PUSHER_KEY=chat-key SNO_JWT_SECRET=... node server.mjs
import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { SignJWT } from 'jose';
import pg from 'pg';

const { DATABASE_URL, SNO_JWT_SECRET, SNO_PUSHER_KEY, SNO_URL, PORT = '3000' } = process.env;
const db = new pg.Pool({ connectionString: DATABASE_URL });
const secret = new TextEncoder().encode(SNO_JWT_SECRET);
const library = createRequire(import.meta.url).resolve('pusher-js/dist/web/pusher.min.js');
/** The user of each session. An app has passwords, and keeps its sessions elsewhere. */
const sessions = new Map();

const routes = {
  async 'GET /'({ response }) {
    response.setHeader('content-type', 'text/html; charset=utf-8');
    return readFile(new URL('index.html', import.meta.url));
  },

  async 'GET /pusher.js'({ response }) {
    response.setHeader('content-type', 'text/javascript');
    return readFile(library);
  },

  async 'GET /login'({ url, response }) {
    const session = randomUUID();
    sessions.set(session, url.searchParams.get('user'));
    response.setHeader('set-cookie', `session=${session}; HttpOnly; SameSite=Strict; Path=/`);
    response.writeHead(303, { location: '/' });
    return '';
  },

  async 'GET /config'() {
    const { hostname, port, protocol } = new URL(SNO_URL);
    return JSON.stringify({ key: SNO_PUSHER_KEY, host: hostname, port: Number(port), isTls: protocol === 'https:' });
  },

  // Before the move: an `if`, then `pusher.authorizeChannel`. Now the views of the room decide.
  async 'POST /pusher/auth'({ user, body, response }) {
    const token = await new SignJWT({})
      .setProtectedHeader({ alg: 'HS256' })
      .setSubject(user)
      .setExpirationTime('1m')
      .sign(secret);
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/x-www-form-urlencoded' };
    const answer = await fetch(new URL('/pusher/auth', SNO_URL), { method: 'POST', headers, body });
    response.writeHead(answer.status, { 'content-type': 'application/json' });
    return answer.text();
  },

  // Before the move: the insert, then `pusher.trigger`.
  async 'POST /messages'({ user, body }) {
    const message = new URLSearchParams(body);
    await db.query(
      `insert into messages (room_id, user_id, body)
       select room_id, user_id, $3 from members where room_id = $1 and user_id = $2`,
      [message.get('room'), user, message.get('body')],
    );
    return '';
  },
};

createServer((request, response) => void answer(request, response)).listen(Number(PORT), '127.0.0.1', () =>
  console.log(`http://127.0.0.1:${PORT}/login?user=ada`),
);

async function answer(request, response) {
  const url = new URL(request.url, 'http://localhost');
  const route = routes[`${request.method} ${url.pathname}`];
  const user = userOf(request);
  try {
    if (route === undefined) response.writeHead(404).end();
    else if (user === undefined && url.pathname !== '/login') response.writeHead(401).end('Sign in at /login?user=ada');
    else response.end(await route({ url, user, body: await bodyOf(request), response }));
  } catch (error) {
    console.error(error);
    response.writeHead(500).end();
  }
}

/** The cookie is `SameSite=Strict`, so no page of another site can act for the user. */
function userOf({ headers }) {
  const [, session] = /(?:^|; )session=([\w-]+)/.exec(headers.cookie ?? '') ?? [];
  return sessions.get(session);
}

async function bodyOf(request) {
  let text = '';
  for await (const part of request) {
    text += part;
    if (text.length > 10_000) throw new Error('the body is too large');
  }
  return text;
}
