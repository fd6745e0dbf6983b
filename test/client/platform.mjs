// One client in a process of its own, under whatever Node runs it: first to a port where nothing
// listens, then to the service. It says what happens, a JSON line each, and ends when a row `last`
// has come.
import { pathToFileURL } from 'node:url';

const [clientFile, url] = process.argv.slice(2);
const { connect } = await import(pathToFileURL(clientFile).href);
const WebSocket = globalThis.WebSocket ?? (await import('ws')).WebSocket;
const backoff = { baseMs: 10, capMs: 100 };
const say = (happening) => process.stdout.write(`${JSON.stringify(happening)}\n`);

const nowhere = connect('wss://127.0.0.1:1', { WebSocket, backoff });
const error = await new Promise((resolve) => nowhere.on('status', (update) => update.error && resolve(update.error)));
await nowhere.close();
say({ refused: error.code, message: error.message });

const sno = connect(url, { WebSocket, backoff });
const view = sno.live('room:1');
const rows = await new Promise((resolve) => {
  view.subscribe(({ status, rows }) => {
    say({ status });
    if (rows.some(({ body }) => body === 'last')) resolve(rows);
  });
});
say({ rows });
await sno.close();
say({ closed: true });
