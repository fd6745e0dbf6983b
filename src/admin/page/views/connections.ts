import type { ConnectionInfo, Connections, DisconnectAnswer, DisconnectRequest } from '../../api/types.ts';
import { changed } from '../dom/drawing.ts';
import { type Child, element } from '../dom/element.ts';
import { ago, bytes, count, counted, duration } from '../format.ts';
import { announce } from '../parts/announce.ts';
import { confirmed } from '../parts/confirm.ts';
import { badge, panel, table, withData } from '../parts/parts.ts';
import { Search } from '../parts/search.ts';
import type { Polls, Source } from '../poll.ts';
import type { Server } from '../server.ts';
import { addressOf, type View } from '../view.ts';

const CHANNELS_SHOWN = 3;
const PROTOCOLS: Readonly<Record<ConnectionInfo['protocol'], string>> = {
  ws: 'websocket',
  sse: 'event stream',
  pusher: 'Pusher websocket',
};

export class ConnectionsView implements View {
  readonly id = 'connections';
  readonly title = 'Connections';
  readonly #server: Server;
  readonly #polls: Polls;
  readonly #search: Search;
  readonly #connections: Source<Connections>;
  #result: { readonly isGood: boolean; readonly text: string } | undefined;

  constructor(server: Server, polls: Polls) {
    this.#server = server;
    this.#polls = polls;
    this.#search = new Search('Search user, address or id', () => polls.refresh());
    this.#connections = { key: 'connections', everyMs: 3_000, path: () => `api/connections?${this.#search.query}` };
  }

  sources(): readonly Source<unknown>[] {
    return [this.#connections];
  }

  leave(): void {
    this.#result = undefined;
  }

  draw(): readonly Child[] {
    const known = this.#polls.get(this.#connections);
    const result = this.#result;
    return [
      panel(
        {
          id: 'connections',
          title: 'Connections',
          note: known.data && `${count(known.data.open)} open, ${count(known.data.slow)} slow. Slow ones first.`,
          tools: [this.#search.field()],
        },
        result && element('p', { class: result.isGood ? 'done' : 'fault' }, result.text),
        ...withData(known, (data) => [silence(data), this.#table(data), this.#search.pages(data)]),
      ),
    ];
  }

  #table({ connections }: Connections): HTMLElement {
    return table({
      caption: 'Connections, slow ones first',
      columns: [
        { title: 'User', cell: ({ user }) => element('span', { class: 'breakable' }, user ?? '(no sub)') },
        { title: 'State', cell: stateOf },
        { title: 'Waiting', cell: waiting },
        { title: 'Sent', cell: ({ sentBytes }) => bytes(sentBytes), isNumber: true },
        { title: 'Channels', cell: channelLinks },
        { title: 'From', cell: from },
        { title: 'Connected', cell: ({ connectedAt }) => ago(connectedAt) },
        { title: 'Token expires', cell: ({ tokenExpiresAt }) => expiry(tokenExpiresAt) },
        { title: 'Action', cell: (connection) => this.#disconnectButton(connection) },
      ],
      rows: connections,
      keyOf: ({ id }) => id,
      empty: this.#search.text === '' ? 'No client is connected.' : 'No connection matches.',
    });
  }

  #disconnectButton(connection: ConnectionInfo): HTMLElement {
    return element(
      'button',
      {
        type: 'button',
        class: 'danger small',
        'aria-label': `Disconnect ${named(connection)}`,
        onclick: () => void this.#disconnect(connection),
      },
      'Disconnect',
    );
  }

  async #disconnect(connection: ConnectionInfo): Promise<void> {
    const isSure = await confirmed({
      title: `Disconnect ${named(connection)}?`,
      text: 'The client receives close code 1001 and may connect again at once. To keep a user out, remove the row that lets the user in.',
      yes: 'Disconnect',
    });
    if (!isSure) return;
    const request: DisconnectRequest = { connection: connection.id };
    const { data, fault } = await this.#server.post<DisconnectAnswer>('api/connections/disconnect', request);
    this.#result =
      fault !== undefined
        ? { isGood: false, text: `${fault.code}: ${fault.message}` }
        : resultOf(data, named(connection));
    announce(this.#result.text);
    changed();
    this.#polls.refresh();
  }
}

function resultOf({ isDisconnected, silentWorkers }: DisconnectAnswer, name: string) {
  if (isDisconnected) return { isGood: true, text: `Disconnected ${name}.` };
  if (silentWorkers.length === 0) return { isGood: true, text: 'It was gone already.' };
  const text = `Worker ${silentWorkers.join(', ')} did not answer in time. If it has ${name}, it closes the connection later.`;
  return { isGood: false, text };
}

const named = ({ user, address }: ConnectionInfo) => user ?? `the client at ${address}`;

function stateOf({ behindFrames, waitingBytes }: ConnectionInfo): HTMLElement {
  return behindFrames > 0 || waitingBytes > 0 ? badge('slow', 'warn') : badge('live', 'good');
}

function waiting({ behindFrames, waitingBytes }: ConnectionInfo): Child {
  if (behindFrames === 0 && waitingBytes === 0) return '–';
  return element('span', { class: 'lines' }, counted(behindFrames, 'frame'), element('span', {}, bytes(waitingBytes)));
}

function from({ address, protocol, isCompressed, worker }: ConnectionInfo): HTMLElement {
  const parts = [PROTOCOLS[protocol]];
  if (isCompressed) parts.push('compressed');
  if (worker !== null) parts.push(`worker ${worker}`);
  return element('span', { class: 'lines' }, address, element('span', { class: 'note' }, parts.join(', ')));
}

function expiry(at: number | null): string {
  if (at === null) return '–';
  const seconds = (at - Date.now()) / 1000;
  return seconds <= 0 ? 'expired' : `in ${duration(seconds)}`;
}

function channelLinks({ channels, subscriptions }: ConnectionInfo): HTMLElement {
  const shown = channels.slice(0, CHANNELS_SHOWN);
  const links = shown.map(({ name }) =>
    element('a', { href: addressOf('channel', name), class: 'breakable' }, element('code', {}, name)),
  );
  const more = subscriptions - shown.length;
  return element('span', { class: 'links' }, ...links, more > 0 && counted(more, 'more', 'more'));
}

function silence({ silentWorkers }: Connections): Child {
  if (silentWorkers.length === 0) return undefined;
  const text = `Without the connections of worker ${silentWorkers.join(', ')}, which did not answer in time.`;
  return element('p', { class: 'fault' }, text);
}
