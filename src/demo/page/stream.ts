/** The commits that arrived over the websocket, newest first. */
import type { Commit } from '../../client/event.ts';
import type { ChangeEvent } from '../../protocol.ts';
import { byId, element } from './element.ts';
import { formatMs } from './latency.ts';
import { arrive } from './motion.ts';

const COMMITS_MAX = 80;
const EVENTS_SHOWN = 6;

export class Stream {
  readonly #list = byId('stream');
  readonly #hidden = new Set<string>();
  #held = false;

  constructor(channels: readonly string[]) {
    for (const channel of channels) this.#addFilter(channel);
    const hold = byId('hold');
    hold.addEventListener('click', () => {
      this.#held = !this.#held;
      hold.setAttribute('aria-pressed', String(this.#held));
      hold.textContent = this.#held ? 'Held' : 'Hold';
    });
  }

  add(commit: Commit, latencyMs: number, mine: boolean): void {
    if (this.#held) return;
    const head = element(
      'p',
      { title: `position ${commit.position}` },
      element('b', {}, commit.channel),
      element('span', { class: 'lsn' }, commit.lsn),
      element('span', { class: 'xid' }, `xid ${commit.xid}`),
      element('span', { class: 'ms' }, formatMs(latencyMs)),
    );
    const item = element('li', { 'data-channel': commit.channel, 'data-xid': String(commit.xid) }, head);
    item.append(...commit.events.slice(0, EVENTS_SHOWN).map(eventLine));
    const more = commit.events.length - EVENTS_SHOWN;
    if (more > 0) item.append(element('p', { class: 'more' }, `and ${more} more in this commit`));
    item.hidden = this.#hidden.has(commit.channel);
    if (mine) markMine(item);
    this.#list.prepend(item);
    while (this.#list.children.length > COMMITS_MAX) this.#list.lastElementChild?.remove();
    arrive(item);
  }

  /** Marks a shown commit as this window's own. */
  claim(xid: number): void {
    for (const item of this.#list.querySelectorAll<HTMLElement>(`[data-xid="${xid}"]`)) markMine(item);
  }

  #addFilter(channel: string): void {
    const button = element(
      'button',
      { type: 'button', class: 'quiet small', 'aria-pressed': 'true' },
      channel.slice(0, channel.indexOf(':')),
    );
    button.addEventListener('click', () => {
      const shown = this.#hidden.delete(channel);
      if (!shown) this.#hidden.add(channel);
      button.setAttribute('aria-pressed', String(shown));
      for (const item of this.#list.querySelectorAll<HTMLElement>(`[data-channel="${channel}"]`)) item.hidden = !shown;
    });
    byId('filters').append(button);
  }
}

function markMine(item: HTMLElement): void {
  if (item.classList.contains('mine')) return;
  item.classList.add('mine');
  item.querySelector('b')?.after(element('span', { class: 'tag' }, 'yours'));
}

function eventLine(event: ChangeEvent): HTMLElement {
  const content = event.op === 'truncate' ? {} : event.op === 'delete' ? event.key : event.data;
  const summary = element(
    'summary',
    {},
    element('span', { class: `op ${event.op}` }, event.op),
    element('code', {}, JSON.stringify(content)),
  );
  return element('details', {}, summary, element('pre', {}, JSON.stringify(event, null, 2)));
}
