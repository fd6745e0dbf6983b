/** What the admin API shows of one channel, and of the active channels of a pattern. */
import type { ActiveChannel, ActiveChannels, ChannelInfo } from '../../admin/api/types.ts';
import type { ResolvedChannel } from '../../channels/served/served.ts';
import type { Entry } from '../../commit/entry.ts';
import { SnoError } from '../../errors.ts';
import { bytesOf } from '../../journal/log.ts';
import { formatPosition } from '../../position.ts';
import type { GatewayAnswer, GatewayAnswers } from './questions.ts';
import type { ServiceView } from './view.ts';

/** `resolved`: how the name is served, or why it is not. */
export function channelInfo(
  { journal, epoch }: Pick<ServiceView, 'journal' | 'epoch'>,
  name: string,
  resolved: ResolvedChannel | SnoError,
  answers: readonly GatewayAnswer<GatewayAnswers['subscribers']>[],
  limit: number,
): ChannelInfo {
  const served = resolved instanceof SnoError ? undefined : resolved;
  const subscribers = answers.flatMap(({ worker, answer }) =>
    (answer?.subscribers ?? []).map((subscriber) => ({ ...subscriber, worker })),
  );
  return {
    name,
    pattern: served?.pattern.text ?? null,
    problem: resolved instanceof SnoError ? { code: resolved.code, message: resolved.message } : null,
    values: (served?.pattern.columns ?? []).map((column, index) => ({
      name: column,
      type: served?.valueTypes[index] ?? 'text',
      value: served?.values[index] ?? '',
    })),
    window: windowOf(journal, epoch, name),
    subscriberCount: answers.reduce((count, { answer }) => count + (answer?.count ?? 0), 0),
    subscribers: subscribers.sort((a, b) => b.behindFrames - a.behindFrames).slice(0, limit),
    members: membersOf(answers, served?.presence !== undefined),
  };
}

function windowOf(journal: ServiceView['journal'], epoch: string, name: string): ChannelInfo['window'] {
  const log = journal?.peek(name);
  const entries = log === undefined ? [] : Array.from({ length: log.length }, (_, index) => log.at(index) as Entry);
  const [first, last] = [entries[0], entries.at(-1)];
  if (first === undefined || last === undefined) return null;
  return {
    entries: entries.length,
    bytes: entries.reduce((bytes, entry) => bytes + bytesOf(entry), 0),
    from: formatPosition(epoch, first.lsn, first.index),
    to: formatPosition(epoch, last.lsn, last.index),
  };
}

/**
 * Each process knows the members of all processes, so the largest answer is the most complete. With
 * SNO_ACCESS=open, a channel has members even without a presence view.
 */
function membersOf(
  answers: readonly GatewayAnswer<GatewayAnswers['subscribers']>[],
  isDeclared: boolean,
): ChannelInfo['members'] {
  const all = answers.flatMap(({ answer }) => answer?.members ?? []);
  const most = all.reduce((most, each) => (each.count > most.count ? each : most), { count: 0, ids: [] });
  return isDeclared || most.count > 0 ? most : null;
}

/** Adds up the answers of the processes. */
export function activeChannels(
  pattern: string,
  answers: readonly GatewayAnswer<GatewayAnswers['active']>[],
  limit: number,
): ActiveChannels {
  const byName = new Map<string, ActiveChannel>();
  for (const channel of answers.flatMap(({ answer }) => answer?.channels ?? [])) {
    const { name, subscribers, members } = channel;
    const before = byName.get(name);
    if (before === undefined) byName.set(name, channel);
    else
      byName.set(name, {
        name,
        subscribers: before.subscribers + subscribers,
        members: Math.max(before.members, members),
      });
  }
  const channels = [...byName.values()].sort((a, b) => b.subscribers - a.subscribers);
  const isComplete = channels.length <= limit && answers.every(({ answer }) => answer?.isComplete === true);
  return { pattern, channels: channels.slice(0, limit), isComplete };
}
