import type { ChannelViewInfo, ChannelViews, ViewClaims } from '../../api/types.ts';
import { changed } from '../dom/drawing.ts';
import { type Child, element } from '../dom/element.ts';
import { ago, count, counted, short } from '../format.ts';
import { copyable } from '../parts/copy.ts';
import { badge, panel, prose, type Tone, table, withData } from '../parts/parts.ts';
import { Search } from '../parts/search.ts';
import type { Polls, Source } from '../poll.ts';
import { addressOf, type View } from '../view.ts';
import { nameForm } from './name-form.ts';

const STATES: Readonly<Record<ChannelViewInfo['state'], readonly [text: string, tone: Tone | undefined]>> = {
  served: ['served', 'good'],
  messages: ['messages only', 'violet'],
  awaited: ['awaited', 'warn'],
  refused: ['refused', 'bad'],
};

export class ChannelsView implements View {
  readonly id = 'channels';
  readonly title = 'Channels';
  readonly #polls: Polls;
  readonly #search: Search;
  readonly #views: Source<ChannelViews>;
  readonly #open = new Set<string>();

  constructor(polls: Polls) {
    this.#polls = polls;
    this.#search = new Search('Search channels and tables', () => polls.refresh());
    this.#views = { key: 'channels', everyMs: 3_000, path: () => `api/channels?${this.#search.query}` };
  }

  sources(): readonly Source<unknown>[] {
    return [this.#views];
  }

  draw(): readonly Child[] {
    const known = this.#polls.get(this.#views);
    const refused = known.data?.views.filter(({ refusals }) => refusals.length > 0) ?? [];
    return [
      refused.length > 0 &&
        panel(
          { id: 'refusals', title: 'Refused', note: `${counted(refused.length, 'view')} that clients cannot join.` },
          element('ul', { class: 'refusals' }, ...refused.flatMap(refusalItems)),
        ),
      panel(
        {
          id: 'views',
          title: 'Channel views',
          note: known.data && counted(known.data.total, 'view'),
          tools: [this.#search.field()],
        },
        ...withData(known, (data) => [this.#table(data), this.#search.pages(data)]),
      ),
      panel(
        {
          id: 'inspect',
          title: 'Inspect a channel',
          note: 'Its live frames, its subscribers, its members and its window in the journal.',
        },
        nameForm('', 'Inspect', (name) => {
          location.hash = addressOf('channel', name);
        }),
      ),
    ];
  }

  #table({ views, isIngest }: ChannelViews): HTMLElement {
    return table({
      caption: 'Channel views',
      columns: [
        { title: 'Channel view', cell: (view) => this.#opener(view) },
        { title: 'State', cell: ({ state }) => badge(...STATES[state]) },
        { title: 'Evaluated', cell: ({ path }) => path?.kind ?? '–' },
        { title: 'Tables', cell: ({ tables }) => tables.join(', ') || '–' },
        { title: 'Channels', cell: channelCount, isNumber: true },
        { title: 'Subscribers', cell: ({ subscribers }) => count(subscribers), isNumber: true },
        {
          title: 'Events/s',
          cell: ({ events }) => short(events?.perSecond),
          isNumber: true,
        },
        { title: 'Last event', cell: ({ lastEventAt }) => ago(lastEventAt) },
        {
          title: 'Warnings',
          cell: ({ warnings }) => (warnings.length === 0 ? '–' : badge(count(warnings.length), 'warn')),
        },
      ],
      rows: views,
      keyOf: ({ pattern }) => pattern,
      empty: isIngest
        ? this.#search.text === ''
          ? 'No channel view yet. Create a view in the schema "channels".'
          : 'No channel view matches.'
        : 'This process does not know the channel views yet.',
      more: (view) => this.#open.has(view.pattern) && details(view),
    });
  }

  #opener({ pattern }: ChannelViewInfo): HTMLElement {
    const isOpen = this.#open.has(pattern);
    return element(
      'button',
      {
        type: 'button',
        class: 'opener',
        'aria-expanded': String(isOpen),
        onclick: () => {
          if (!this.#open.delete(pattern)) this.#open.add(pattern);
          changed();
        },
      },
      element('code', {}, pattern),
    );
  }
}

/** A link to the channels, if there are any. */
function channelCount({ pattern, channels, isChannelCountExact: isExact }: ChannelViewInfo): Child {
  if (channels === 0) return '0';
  const label = `${isExact ? '' : 'at most '}${counted(channels, 'channel')} of ${pattern}`;
  const shown = `${isExact ? '' : '≤ '}${count(channels)}`;
  return element('a', { href: addressOf('channel', pattern), 'aria-label': label }, shown);
}

function refusalItems({ pattern, refusals }: ChannelViewInfo): HTMLElement[] {
  return refusals.map(({ code, view, message, hint }) =>
    element(
      'li',
      { 'data-key': `${pattern} ${view} ${code}` },
      element('p', { class: 'what' }, element('code', {}, view), ' ', badge(code, 'bad')),
      element('pre', { class: 'place', tabindex: 0, 'aria-label': `Why ${view} is refused` }, message),
      element('p', { class: 'hint' }, ...prose(hint)),
    ),
  );
}

function details(view: ChannelViewInfo): HTMLElement {
  const { pattern, path, columns, placeholders, access, presence, send, warnings } = view;
  return element(
    'div',
    { class: 'details' },
    path !== null && element('p', {}, element('b', {}, 'Rows: '), path.text),
    element('p', {}, element('b', {}, 'Columns: '), typed(columns) ?? 'not known in this process'),
    element(
      'p',
      {},
      element('b', {}, 'Who may join: '),
      claimsText(access) ?? 'no client, since there is no access view',
    ),
    presence !== null && element('p', {}, element('b', {}, 'Who may appear: '), claimsText(presence)),
    send !== null && element('p', {}, element('b', {}, 'Who may send: '), claimsText(send)),
    ...warnings.map((warning) => element('p', { class: 'warning' }, badge('warning', 'warn'), ' ', ...prose(warning))),
    placeholders.length === 0
      ? element('p', {}, element('a', { href: addressOf('channel', pattern) }, 'Inspect this channel'))
      : element('p', {}, element('a', { href: addressOf('channel', pattern) }, 'Choose one of its channels')),
    ...createAccess(view),
  );
}

/** An access view to begin with, for a channel view that has no access view. */
function createAccess({ access, pattern, placeholders, state }: ChannelViewInfo): Child[] {
  if (access !== null || state === 'refused') return [];
  const columns = [...placeholders.map(({ name }) => name), 'user_id as sub'].join(', ');
  return [copyable(`create view channel_access."${pattern}" as\n  select ${columns} from memberships;`)];
}

/** `id integer, title text`. Undefined if unknown. */
function typed(columns: readonly { readonly name: string; readonly type: string }[] | null): HTMLElement | undefined {
  if (columns === null) return undefined;
  return element('code', {}, columns.map(({ name, type }) => `${name} ${type}`).join(', ') || 'none');
}

/** Undefined: no view. */
function claimsText(view: ViewClaims | null): Child {
  if (view === null) return undefined;
  if (view.claims.length === 0) return 'all clients: the view compares no claim';
  return element(
    'span',
    {},
    'tokens with fitting claims: ',
    element('code', {}, view.claims.map(({ name, type }) => `${name} ${type}`).join(', ')),
  );
}
