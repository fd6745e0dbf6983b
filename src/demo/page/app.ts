/** The demo's page: draws five live channels, sends SQL, and measures the commits that arrive. */
import { Arrivals } from './arrivals.ts';
import { Board } from './board.ts';
import { byId } from './element.ts';
import { LatencyPanel, millisecondsSince } from './latency.ts';
import { Market } from './market.ts';
import type { Goal, Life, Match, Price, Task } from './rows.ts';
import { Scoreboard } from './scoreboard.ts';
import { Snowfall } from './snowfall.ts';
import { SqlPanel } from './sql-panel.ts';
import { Stream } from './stream.ts';
import { startTheme } from './theme.ts';

const CHANNELS = ['board:1', 'match:1', 'goals:1', 'market:nordic', 'life:1'] as const;
/** The client library, which the demo's server serves. */
const CLIENT = '/sno.js';

interface Session {
  readonly url: string;
  readonly token: string;
}

async function openSession(): Promise<Session> {
  const response = await fetch('/session');
  if (!response.ok) throw new Error(`/session: ${response.status}`);
  return (await response.json()) as Session;
}

async function start(): Promise<void> {
  startTheme();
  const stream = new Stream(CHANNELS);
  const arrivals = new Arrivals((xid) => stream.claim(xid));
  const sqlPanel = new SqlPanel(arrivals);
  const run = (sql: string) => void sqlPanel.run(sql);
  const latency = new LatencyPanel();
  const snowfall = new Snowfall();
  const board = new Board(run);
  const scoreboard = new Scoreboard();
  const market = new Market();

  const { connect } = (await import(CLIENT)) as typeof import('../../client/index.ts');
  const { url } = await openSession();
  const client = connect(url, { token: async () => (await openSession()).token });

  // The measuring listeners come first, so that the figures exclude drawing.
  for (const name of CHANNELS) {
    client.channel(name).on('change', (commit) => {
      const latencyMs = millisecondsSince(commit.committedAt);
      const { channel, xid, events } = commit;
      const mine = arrivals.add({ channel, xid, events: events.length, latencyMs, at: performance.now() });
      stream.add(commit, latencyMs, mine);
      latency.add(latencyMs);
      snowfall.fall(events.length);
    });
  }

  const pill = byId('connection');
  const showStatus = () => {
    const status = client.status;
    pill.dataset['state'] = status;
    document.body.dataset['state'] = status;
    pill.textContent = {
      idle: 'connecting',
      connecting: 'connecting',
      open: 'live',
      waiting: 'offline, trying again',
      closed: 'closed',
    }[status];
  };
  client.on('status', showStatus);
  showStatus();

  client.live<Match>('match:1').subscribe(({ rows }) => scoreboard.showMatch(rows[0]));
  client.live<Goal>('goals:1').subscribe(({ rows }) => scoreboard.showGoals(rows));
  client.live<Price>('market:nordic').subscribe(({ rows }) => market.show(rows));

  // SQL may remove the member, and add it again: then it may join again.
  const join = () => {
    const tasks = client.live<Task>('board:1');
    tasks.subscribe(({ rows, status }) => {
      board.show(rows);
      const rejoin = () => {
        tasks.close();
        join();
      };
      board.close(status === 'error' ? (tasks.error?.message ?? 'No access') : undefined, rejoin);
    });
  };
  join();

  const button = byId<HTMLButtonElement>('life');
  const life = client.live<Life>('life:1');
  const isRunning = () => life.rows[0]?.running ?? false;
  life.subscribe(() => {
    button.disabled = life.status !== 'live';
    button.textContent = isRunning() ? 'Pause simulation' : 'Resume simulation';
  });
  button.addEventListener('click', () => run(`update life set running = ${!isRunning()} where id = 1;`));
}

await start();
