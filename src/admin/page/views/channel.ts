/** The inspector of one channel. */
import type { ChannelInfo, Subscriber } from '../../api/types.ts';
import { changed } from '../dom/drawing.ts';
import { type Child, element } from '../dom/element.ts';
import { bytes, count, counted } from '../format.ts';
import { badge, empty, facts, faultBox, panel, type Tone, table, withData } from '../parts/parts.ts';
import type { Polls, Source } from '../poll.ts';
import type { Server } from '../server.ts';
import { addressOf, type View } from '../view.ts';
import { activeOf, activePanel, isPattern } from './active-channels.ts';
import { FrameFeed } from './frame-feed.ts';
import { framesPanel } from './frames.ts';
import { nameForm } from './name-form.ts';

const SUBSCRIBER_STATES: Readonly<Record<Subscriber['state'], readonly [text: string, tone: Tone]>> = {
  live: ['live', 'good'],
  joining: ['joining', 'ice'],
  catching: ['catching up', 'warn'],
};

export class ChannelView implements View {
  readonly id = 'channel';
  readonly title = 'Channel';
  readonly #polls: Polls;
  readonly #server: Server;
  #feed: FrameFeed | undefined;

  constructor(server: Server, polls: Polls) {
    this.#server = server;
    this.#polls = polls;
  }

  sources(name: string): readonly Source<unknown>[] {
    if (isPattern(name)) return [activeOf(name)];
    return name === '' ? [] : [infoOf(name)];
  }

  leave(): void {
    this.#feed?.close();
    this.#feed = undefined;
  }

  draw(name: string): readonly Child[] {
    if (isPattern(name)) return [activePanel(name, this.#polls.get(activeOf(name)))];
    const head = panel(
      {
        id: 'channel',
        title: name === '' ? 'Inspect a channel' : 'Channel',
        tools: [
          nameForm(name, 'Inspect', (wanted) => {
            location.hash = addressOf('channel', wanted);
          }),
        ],
      },
      ...(name === '' ? [] : withData(this.#polls.get(infoOf(name)), summary)),
    );
    if (name === '') return [head];
    this.#feed ??= new FrameFeed(this.#server, name, changed);
    const { data } = this.#polls.get(infoOf(name));
    return [
      head,
      framesPanel(this.#feed),
      data !== undefined &&
        panel(
          { id: 'subscribers', title: 'Subscribers', note: counted(data.subscriberCount, 'subscriber') },
          subscribers(data),
        ),
      data !== undefined && data.members !== null && membersPanel(data.members),
    ];
  }
}

const infoOf = (name: string): Source<ChannelInfo> => ({
  key: `channel ${name}`,
  everyMs: 3_000,
  path: () => `api/channel?name=${encodeURIComponent(name)}`,
});

function summary({ name, pattern, problem, values, window }: ChannelInfo): readonly Child[] {
  return [
    element('p', { class: 'channel-name breakable' }, element('code', {}, name)),
    problem !== null && faultBox(problem),
    facts(
      ['Channel view', pattern === null ? '–' : patternLink(pattern)],
      ...values.map(({ name, value }) => [name, element('code', {}, value)] as const),
      ['In the journal', window === null ? 'nothing' : `${counted(window.entries, 'frame')}, ${bytes(window.bytes)}`],
      ['Oldest position', position(window?.from)],
      ['Newest position', position(window?.to)],
    ),
    element(
      'p',
      { class: 'below' },
      element('a', { href: addressOf('explain', name) }, 'Why may a token not join it?'),
    ),
  ];
}

function patternLink(pattern: string): HTMLElement {
  const text = element('code', {}, pattern);
  return isPattern(pattern) ? element('a', { href: addressOf('channel', pattern) }, text) : text;
}

const position = (text: string | undefined) => (text === undefined ? '–' : element('code', {}, text));

function membersPanel({ count: all, ids }: NonNullable<ChannelInfo['members']>): HTMLElement {
  return panel(
    { id: 'members', title: 'Members', note: `${counted(all, 'member')}, on all machines` },
    all === 0
      ? empty('No client appears.')
      : element('ul', { class: 'members', 'aria-label': 'Members' }, ...ids.map((id) => element('li', {}, id))),
    all > ids.length && element('p', { class: 'note' }, `The first ${count(ids.length)} are shown.`),
  );
}

function subscribers({ subscribers: shown, subscriberCount }: ChannelInfo): HTMLElement {
  const list = table({
    caption: 'Subscribers',
    columns: [
      { title: 'User', cell: ({ user }) => user ?? '(no sub)' },
      { title: 'State', cell: ({ state }) => badge(...SUBSCRIBER_STATES[state]) },
      { title: 'Frames behind', cell: ({ behindFrames }) => count(behindFrames), isNumber: true },
      { title: 'Address', cell: ({ address }) => address },
      { title: 'Connection', cell: ({ connection }) => element('code', {}, connection) },
      { title: 'Worker', cell: ({ worker }) => (worker === null ? '–' : String(worker)), isNumber: true },
    ],
    rows: shown,
    keyOf: ({ connection }) => connection,
    empty: 'No client is subscribed.',
  });
  if (shown.length === subscriberCount) return list;
  return element('div', {}, list, element('p', { class: 'note' }, `The first ${count(shown.length)} are shown.`));
}
