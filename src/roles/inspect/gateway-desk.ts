/** Answers the questions of the admin API about the clients of this process. */
import type { ConnectionInfo, Subscriber } from '../../admin/api/types.ts';
import type { Hub } from '../../fanout/hub.ts';
import type { Client } from '../../gateway/clients.ts';
import type { Gateway } from '../../gateway/server.ts';
import type { Incidents } from '../../metrics/incidents.ts';
import type { Presence } from '../../presence/presence.ts';
import { withNames } from './pattern-channels.ts';
import { ProcessMeter } from './process-meter.ts';
import type { AnswerTo, GatewayAnswers, GatewayQuestion, ProcessFacts } from './questions.ts';

export interface GatewayDeskOptions {
  readonly hub: Pick<Hub, 'subscriptionsTo' | 'channelCounts' | 'channelsOf' | 'subscriptionCount' | 'outbound'>;
  readonly gateway: Pick<Gateway, 'clients'>;
  readonly presence: Pick<Presence, 'members' | 'memberCount'>;
  readonly incidents: Incidents;
}

const CHANNELS_MAX = 20;
/** Maximum characters of the channels' names in an answer. */
const NAMES_MAX = 400_000;
/** Maximum channels of a pattern in an answer: more than are shown, since workers are added up. */
const ACTIVE_MAX = 1_000;

export class GatewayDesk {
  readonly #options: GatewayDeskOptions;
  readonly #meter = new ProcessMeter();

  constructor(options: GatewayDeskOptions) {
    this.#options = options;
  }

  answer<Question extends GatewayQuestion>(question: Question): AnswerTo<Question> {
    return this.#answer(question) as AnswerTo<Question>;
  }

  #answer(question: GatewayQuestion): GatewayAnswers[GatewayQuestion['kind']] {
    const { gateway, incidents } = this.#options;
    switch (question.kind) {
      case 'connections':
        return this.#connections(question);
      case 'disconnect':
        return gateway.clients.disconnect(question.connection);
      case 'subscribers':
        return this.#subscribers(question.channel, question.top);
      case 'channels':
        return this.#channels(question);
      case 'active':
        return this.#active(question.pattern);
      case 'incidents':
        return incidents.list;
      case 'process':
        return this.#process();
    }
  }

  #process(): ProcessFacts {
    const { hub, gateway } = this.#options;
    const connections = gateway.clients.count;
    return { ...this.#meter.facts, connections, subscriptions: hub.subscriptionCount, backedUp: hub.outbound.backedUp };
  }

  /** Details are read only for the connections in the answer. */
  #connections({
    top,
    search,
    channel,
  }: Extract<GatewayQuestion, { kind: 'connections' }>): GatewayAnswers['connections'] {
    const { clients } = this.#options.gateway;
    const isWanted = matcherOf(search, channel);
    const slow: { readonly client: Client; readonly behind: number; readonly bytes: number }[] = [];
    const others: Client[] = [];
    let [matching, slowCount] = [0, 0];
    for (const client of clients.all) {
      const bytes = client.feed.pendingBytes;
      const isSlow = bytes > 0 || !client.feed.isComplete;
      if (isSlow) slowCount++;
      if (!isWanted(client)) continue;
      matching++;
      if (isSlow) slow.push({ client, bytes, behind: client.feed.behind });
      else if (others.length < top) others.push(client);
    }
    slow.sort((a, b) => b.behind - a.behind || b.bytes - a.bytes);
    const shown = [...slow.map(({ client }) => client), ...others].slice(0, top);
    return { connections: shown.map(connectionInfo), matching, open: clients.count, slow: slowCount };
  }

  #subscribers(channel: string, top: number): GatewayAnswers['subscribers'] {
    const subscriptions = this.#options.hub.subscriptionsTo(channel);
    const subscribers: Omit<Subscriber, 'worker'>[] = [];
    for (const { grant, state, behind } of subscriptions?.keys() ?? []) {
      if (subscribers.length >= top) break;
      if (state === 'ended') continue;
      const { id = '', user = null, address = '' } = grant;
      subscribers.push({ connection: id, user, address, state, behindFrames: behind });
    }
    return { subscribers, count: subscriptions?.size ?? 0, members: this.#members(channel, top) };
  }

  #members(channel: string, top: number): GatewayAnswers['subscribers']['members'] {
    const { presence } = this.#options;
    const ids: string[] = [];
    for (const { id } of presence.members(channel)) {
      if (ids.length >= top) break;
      ids.push(id);
    }
    return { count: presence.memberCount(channel), ids };
  }

  #channels({ patterns, isCompared }: Extract<GatewayQuestion, { kind: 'channels' }>): GatewayAnswers['channels'] {
    const { hub } = this.#options;
    const asked = new Set(patterns);
    const found = [...hub.channelCounts]
      .filter(([pattern]) => asked.has(pattern))
      .map(([pattern, channels, subscriptions]) => ({ pattern, channels, subscriptions, names: null }));
    return isCompared ? withNames(found, (pattern) => hub.channelsOf(pattern), NAMES_MAX) : found;
  }

  #active(pattern: string): GatewayAnswers['active'] {
    const { hub, presence } = this.#options;
    const { items, isComplete } = largest(hub.channelsOf(pattern), ([, subscribers]) => subscribers, ACTIVE_MAX);
    const channels = items.map(([name, subscribers]) => ({ name, subscribers, members: presence.memberCount(name) }));
    return { channels, isComplete };
  }
}

/** The items with the largest values, largest first. Never sorts more than twice `max` items. */
function largest<Item>(
  all: Iterable<Item>,
  sizeOf: (item: Item) => number,
  max: number,
): { readonly items: readonly Item[]; readonly isComplete: boolean } {
  let items: Item[] = [];
  let isComplete = true;
  const cut = () => {
    items.sort((a, b) => sizeOf(b) - sizeOf(a));
    if (items.length <= max) return;
    isComplete = false;
    items = items.slice(0, max);
  };
  for (const item of all) {
    items.push(item);
    if (items.length >= 2 * max) cut();
  }
  cut();
  return { items, isComplete };
}

function matcherOf(search: string, channel: string | undefined): (client: Client) => boolean {
  const text = search.toLowerCase();
  const isFound = (client: Client) =>
    text === '' ||
    client.id === text ||
    client.address.startsWith(text) ||
    client.user?.toLowerCase().includes(text) === true;
  const isSubscribed = ({ feed }: Client) => [...feed.states()].some(({ name }) => name === channel);
  return (client) => (channel === undefined || isSubscribed(client)) && isFound(client);
}

function connectionInfo({ address, deflates, feed, state }: Client): Omit<ConnectionInfo, 'worker'> {
  const channels: ConnectionInfo['channels'][number][] = [];
  for (const each of feed.states()) {
    if (channels.length >= CHANNELS_MAX) break;
    if (each.state !== 'ended') channels.push({ name: each.name, state: each.state });
  }
  return {
    id: state.id,
    user: state.user ?? null,
    address,
    protocol: state.protocol,
    isCompressed: deflates,
    connectedAt: state.connectedAt,
    tokenExpiresAt: state.tokenExpiresAt ?? null,
    behindFrames: feed.behind,
    waitingBytes: feed.pendingBytes,
    sentBytes: state.sentBytes,
    subscriptions: feed.subscriptionCount,
    channels,
  };
}
