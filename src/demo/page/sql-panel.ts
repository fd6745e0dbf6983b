/** The SQL box: the text, the examples, and the results of runs. */
import type { Outcome, Statement } from '../sql-box.ts';
import type { Arrival, Arrivals } from './arrivals.ts';
import { byId, element } from './element.ts';
import { formatMs } from './latency.ts';
import { colour } from './sql-colours.ts';

const RUNS_MAX = 12;
const MAC = /Mac|iPhone|iPad/.test(navigator.platform);

const EXAMPLES: readonly { readonly label: string; readonly sql: string }[] = [
  { label: 'Move a card', sql: "update tasks set status = 'done' where id = 3;" },
  {
    label: 'Goal!',
    sql: "update matches set home_score = home_score + 1 where id = 1;\ninsert into goals (match_id, team, scorer, clock_seconds)\n  select id, 'home', 'You', clock_seconds from matches where id = 1;",
  },
  { label: 'New task', sql: "insert into tasks (title, assignee)\n  values ('Build a snow lantern', 'You');" },
  { label: 'Many rows', sql: 'update prices set price = round(price * 1.05, 2);' },
  {
    label: 'Leave the view',
    sql: "-- the channel shows tasks where archived_at is null\nupdate tasks set archived_at = now() where status = 'done';",
  },
  { label: 'Rollback', sql: 'begin;\ndelete from tasks;\nrollback;' },
  { label: 'Read', sql: 'select * from prices order by symbol;' },
  { label: 'Start over', sql: 'select demo.seed();' },
];

export class SqlPanel {
  readonly #arrivals: Arrivals;
  readonly #text = byId<HTMLTextAreaElement>('sql');
  readonly #colours = byId('sql-colours');
  readonly #runs = byId('runs');

  constructor(arrivals: Arrivals) {
    this.#arrivals = arrivals;
    for (const { label, sql } of EXAMPLES) {
      const button = element('button', { type: 'button', class: 'chip' }, label);
      button.addEventListener('click', () => {
        this.#put(sql);
        this.#text.focus({ preventScroll: true });
      });
      byId('examples').append(button);
    }
    this.#text.addEventListener('input', () => this.#paint());
    this.#text.addEventListener('scroll', () => {
      this.#colours.scrollTop = this.#text.scrollTop;
    });
    this.#text.addEventListener('keydown', (event) => {
      if (event.key !== 'Enter' || !(event.ctrlKey || event.metaKey)) return;
      event.preventDefault();
      byId<HTMLFormElement>('sql-form').requestSubmit();
    });
    byId('sql-form').addEventListener('submit', (event) => {
      event.preventDefault();
      if (this.#text.value.trim() !== '') void this.run(this.#text.value);
    });
    byId('sql-keys').textContent = MAC ? '⌘ ↵' : 'Ctrl ↵';
    this.#put((EXAMPLES[0] as (typeof EXAMPLES)[number]).sql);
  }

  /** Runs SQL from anywhere on the page, and shows it. */
  async run(sql: string): Promise<void> {
    if (this.#text.value !== sql) this.#put(sql);
    const pressedAt = performance.now();
    const run = new Run(sql, () => this.#put(sql));
    this.#runs.prepend(run.item);
    while (this.#runs.children.length > RUNS_MAX) this.#runs.lastElementChild?.remove();
    const outcome = await send(sql);
    run.show(outcome, performance.now() - pressedAt);
    if (!outcome.ok) this.#fault(sql, outcome.error.position);
    if (outcome.ok && outcome.xid !== null)
      this.#arrivals.expect(outcome.xid, (arrival) => run.arrived(arrival, pressedAt));
  }

  #put(sql: string): void {
    this.#text.value = sql;
    this.#paint();
  }

  #fault(sql: string, position: number | undefined): void {
    if (position === undefined || this.#text.value !== sql) return;
    // Postgres counts characters, a textarea UTF-16 units.
    this.#paint([...sql].slice(0, position - 1).join('').length);
  }

  #paint(faultAt?: number): void {
    this.#colours.replaceChildren(...colour(this.#text.value, faultAt));
    this.#text.style.height = 'auto';
    this.#text.style.height = `${this.#text.scrollHeight}px`;
    this.#text.setAttribute('aria-invalid', String(faultAt !== undefined));
  }
}

async function send(sql: string): Promise<Outcome> {
  try {
    const response = await fetch('/sql', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ sql }),
    });
    const answer: unknown = await response.json();
    if (response.ok) return answer as Outcome;
    return { ok: false, error: { message: (answer as { message: string }).message } };
  } catch {
    return { ok: false, error: { message: 'the demo does not answer: was it stopped?' } };
  }
}

class Run {
  readonly item: HTMLElement;
  readonly #result = element('p', { class: 'result' }, 'running…');
  readonly #arrival = element('p', { class: 'arrival' });
  readonly #channels = new Map<string, number>();

  constructor(sql: string, again: () => void) {
    const text = element(
      'button',
      { type: 'button', class: 'again', title: 'Put it into the box again' },
      oneLine(sql),
    );
    text.addEventListener('click', again);
    this.item = element('li', { 'data-state': 'running' }, text, this.#result);
  }

  show(outcome: Outcome, tookMs: number): void {
    this.item.dataset['state'] = outcome.ok ? 'done' : 'failed';
    if (!outcome.ok) {
      const { message, code, detail, hint } = outcome.error;
      this.#result.textContent =
        [message, detail, hint].filter((part) => part !== undefined).join(' · ') +
        (code === undefined ? '' : ` (${code})`);
      return;
    }
    const { statements, xid } = outcome;
    this.#result.textContent = `${statements.map(phrase).join(', ') || 'nothing to run'} · ${formatMs(tookMs)}`;
    this.#result.after(
      ...statements.filter(({ rows }) => rows.some((row) => row.some((cell) => cell !== ''))).map(table),
    );
    this.item.append(this.#arrival);
    if (xid !== null)
      this.#arrival.textContent = `committed as xid ${xid}; nothing that a channel shows has changed so far`;
    else if (statements.some(({ command }) => command === 'ROLLBACK'))
      this.#arrival.textContent = 'rolled back: nothing was committed, so nothing arrives';
    else this.#arrival.remove();
  }

  arrived({ channel, events, latencyMs, at }: Arrival, pressedAt: number): void {
    this.item.dataset['state'] = 'arrived';
    this.#channels.set(channel, (this.#channels.get(channel) ?? 0) + events);
    const what = [...this.#channels]
      .map(([name, count]) => `${count} ${count === 1 ? 'event' : 'events'} on ${name}`)
      .join(', ');
    this.#arrival.textContent = `${what} · ${formatMs(latencyMs)} after the commit, ${formatMs(at - pressedAt)} after Run`;
  }
}

const oneLine = (sql: string) =>
  sql
    .replace(/--[^\n]*\n/g, '')
    .replace(/\s+/g, ' ')
    .trim();

function phrase({ command, count }: Statement): string {
  return count === null ? command.toLowerCase() : `${command.toLowerCase()} ${count}`;
}

function table({ columns, rows, count }: Statement): HTMLElement {
  const cell = (value: string | null) =>
    value === null ? element('td', { class: 'null' }, 'null') : element('td', {}, value);
  const made = element(
    'table',
    {},
    element('thead', {}, element('tr', {}, ...columns.map((name) => element('th', { scope: 'col' }, name)))),
    element('tbody', {}, ...rows.map((row) => element('tr', {}, ...row.map(cell)))),
  );
  const frame = element('div', { class: 'rows', tabindex: '0', role: 'region', 'aria-label': 'Rows' }, made);
  if (count !== null && count > rows.length)
    frame.append(element('p', { class: 'more' }, `the first ${rows.length} of ${count}`));
  return frame;
}
