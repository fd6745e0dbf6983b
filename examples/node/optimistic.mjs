// An optimistic update: what the user types shows at once, and gives way to what the database has
// in the very turn in which the commit comes. It never falls back to the old value in between.
//
//     create table tasks (id int primary key, project_id int not null, title text not null);
//     alter table tasks replica identity full;
//     create view channels."project:{project_id}" as select id, project_id, title from tasks;
//     create view channel_access."project:{project_id}" as select project_id from tasks;
//
//     node optimistic.mjs https://localhost:8443 postgres://localhost/app PROJECT TASK TITLE
//     [TOKEN]

import { connect } from '@sno-realtime/sno/client';
import pg from 'pg';
import { WebSocket } from 'ws';

const [url, database, project, task, title, token] = process.argv.slice(2);

// What an app's server does in its PATCH handler. `xid` goes into the answer.
const db = new pg.Client({ connectionString: database });
await db.connect();
async function save(id, title) {
  const sql = 'update tasks set title = $2 where id = $1 returning pg_current_xact_id()::text as xid';
  const { rows } = await db.query(sql, [id, title]);
  return rows[0].xid;
}

// What a page does. `pending` lies over the rows, by key.
const sno = connect(url, { WebSocket, token });
const tasks = sno.live(`project:${project}`);
const pending = new Map();

function render() {
  const shown = tasks.rows.map((row) => ({ ...row, ...pending.get(row.id) }));
  console.log(shown.map(({ id, title, saving }) => `${id} ${title}${saving ? ' (saving)' : ''}`).join(', '));
}

async function rename(id, title) {
  const patch = { title, saving: true };
  pending.set(id, patch);
  render();
  try {
    const xid = await save(id, title);
    await tasks.reached(xid, { signal: AbortSignal.timeout(10_000) });
  } finally {
    // Unless a later change lies there by now.
    if (pending.get(id) === patch) pending.delete(id);
    render();
  }
}

await tasks.ready;
render();
await rename(Number(task), title);
await Promise.all([sno.close(), db.end()]);
