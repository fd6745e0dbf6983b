/** The dashboard: what a Snö service does now, and why, drawn from the admin API. */
import type { Health, Session } from '../api/types.ts';
import { changed, drawWith } from './dom/drawing.ts';
import { byId, element } from './dom/element.ts';
import { redraw } from './dom/redraw.ts';
import { healthLine } from './health.ts';
import { announce } from './parts/announce.ts';
import { Polls, type Source } from './poll.ts';
import { Server } from './server.ts';
import { tokenForm } from './sign-in.ts';
import { startTheme } from './theme.ts';
import { addressOf, type View } from './view.ts';
import { ChannelView } from './views/channel.ts';
import { ChannelsView } from './views/channels.ts';
import { ConnectionsView } from './views/connections.ts';
import { ExplainView } from './views/explain.ts';
import { IncidentsView } from './views/incidents.ts';
import { OverviewView } from './views/overview.ts';
import { ProcessesView } from './views/processes.ts';
import { SettingsView } from './views/settings.ts';

const HEALTH: Source<Health> = { key: 'health', everyMs: 3_000, path: () => 'api/health' };
const SESSION: Source<Session> = { key: 'session', everyMs: 60_000, path: () => 'api/session' };

const server = new Server(changed);
const polls = new Polls(server, changed);
const overview = new OverviewView(polls);
const views: readonly View[] = [
  overview,
  new ChannelsView(polls),
  new ExplainView(server),
  new ConnectionsView(server, polls),
  new IncidentsView(polls),
  new ProcessesView(polls),
  new SettingsView(polls),
];
/** The view that has no entry in the navigation. */
const inner = new ChannelView(server, polls);

let shown: { readonly view: View; readonly name: string } = { view: overview, name: '' };

/** Shows the view that the address names. */
function route(): void {
  const [, id = '', name = ''] = location.hash.split('/');
  const view = [...views, inner].find((each) => each.id === id) ?? overview;
  const next = { view, name: decoded(name) };
  if (next.view !== shown.view || next.name !== shown.name) shown.view.leave?.();
  shown = next;
  polls.follow([HEALTH, SESSION, ...view.sources(next.name)]);
  changed();
}

function decoded(name: string): string {
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}

function draw(): void {
  const { reach } = server;
  const health = polls.get(HEALTH);
  const wantsToken = reach === 'token_needed' || reach === 'token_refused';
  document.body.dataset['reach'] = reach;
  byId('forget').hidden = !server.hasToken;
  redraw(byId('views'), ...(wantsToken ? [] : views.map((view) => link(view, health.data))));
  if (wantsToken) {
    document.title = 'Snö';
    redraw(byId('health'));
    redraw(byId('main'), tokenForm(reach === 'token_refused', signIn));
    return;
  }
  const isOverview = shown.view === overview;
  const line = healthLine({ health, session: polls.get(SESSION).data, isLost: reach === 'lost', isWhole: isOverview });
  document.title = `${line.title} · Snö`;
  sayHealth(line.title);
  redraw(byId('health'), line.drawn);
  redraw(byId('main'), ...shown.view.draw(shown.name).filter((child): child is Node => child instanceof Node));
}

function link(view: View, health: Health | undefined): HTMLElement {
  const isCurrent = view === shown.view || (shown.view === inner && view.id === 'channels');
  const causes = (health?.causes ?? []).filter(({ panel, level }) => level !== 'notice' && viewOf(panel) === view.id);
  const tone = causes.some(({ level }) => level === 'failing') ? 'bad' : 'warn';
  return element(
    'li',
    { 'data-key': view.id },
    element(
      'a',
      { href: addressOf(view.id), 'aria-current': isCurrent && 'page' },
      view.title,
      causes.length > 0 &&
        element(
          'span',
          { class: 'badge', 'data-tone': tone, 'aria-label': `${causes.length} to look at` },
          String(causes.length),
        ),
    ),
  );
}

const viewOf = (panel: string | null) => (panel === 'slot' || panel === 'rates' || panel === null ? 'overview' : panel);

let said = '';
function sayHealth(title: string): void {
  if (title === said) return;
  said = title;
  announce(title);
}

function signIn(token: string): void {
  server.setToken(token);
  polls.refresh();
}

function start(): void {
  startTheme();
  drawWith(draw);
  addEventListener('hashchange', () => {
    route();
    // The reader has followed a link: reading goes on at the view's beginning.
    byId('main').focus({ preventScroll: true });
    scrollTo(0, 0);
    requestAnimationFrame(showCurrent);
  });
  byId('skip').addEventListener('click', (event) => {
    event.preventDefault();
    byId('main').focus();
  });
  byId('forget').addEventListener('click', () => {
    server.setToken(undefined);
    // What the page has shown so far must not stay in its memory either.
    location.reload();
  });
  route();
  requestAnimationFrame(showCurrent);
}

/**
 * Scrolls the navigation to the current view: on a phone, it is wider than the screen. Not by
 * scrollIntoView, after which the Tab key goes on from there in Chromium.
 */
function showCurrent(): void {
  const link = document.querySelector<HTMLElement>('nav [aria-current]');
  const frame = link?.closest('nav');
  if (link === null || !frame) return;
  frame.scrollLeft += link.getBoundingClientRect().left - (frame.clientWidth - link.clientWidth) / 2;
}

start();
