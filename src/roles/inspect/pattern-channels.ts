/** The channels of a pattern that have a subscriber, in several processes together. */

/** What one process has. */
export interface PatternChannels {
  readonly pattern: string;
  readonly channels: number;
  readonly subscriptions: number;
  /** The channels' names, to compare with other processes. Null: too many, or not asked for. */
  readonly names: readonly string[] | null;
}

export interface ChannelTotals {
  readonly channels: number;
  /** False: `channels` may count a channel once for each process that has it. */
  readonly isExact: boolean;
  readonly subscribers: number;
}

export const NO_CHANNELS: ChannelTotals = { channels: 0, isExact: true, subscribers: 0 };

/** Adds up what the processes have, by pattern. Counts a channel of several processes once. */
export function totalsOf(answers: readonly PatternChannels[]): ReadonlyMap<string, ChannelTotals> {
  const byPattern = new Map<string, PatternChannels[]>();
  for (const answer of answers) {
    if (answer.channels === 0) continue;
    const those = byPattern.get(answer.pattern);
    if (those === undefined) byPattern.set(answer.pattern, [answer]);
    else those.push(answer);
  }
  return new Map([...byPattern].map(([pattern, those]) => [pattern, totalOf(those)]));
}

function totalOf(those: readonly PatternChannels[]): ChannelTotals {
  const sum = (of: (each: PatternChannels) => number) => those.reduce((total, each) => total + of(each), 0);
  const subscribers = sum(({ subscriptions }) => subscriptions);
  if (those.length === 1 || those.some(({ names }) => names === null))
    return { channels: sum(({ channels }) => channels), isExact: those.length === 1, subscribers };
  const names = new Set(those.flatMap(({ names }) => names ?? []));
  return { channels: names.size, isExact: true, subscribers };
}

/**
 * Adds the names of channels to what a process has, up to `charactersMax` in all. Patterns with few
 * channels come first, so that one with very many leaves room for the others.
 */
export function withNames(
  all: readonly PatternChannels[],
  namesOf: (pattern: string) => Iterable<readonly [name: string, subscriptions: number]>,
  charactersMax: number,
): readonly PatternChannels[] {
  let room = charactersMax;
  const named = (each: PatternChannels): PatternChannels => {
    // Each name has a character at least.
    if (each.channels > room) return each;
    const names: string[] = [];
    for (const [name] of namesOf(each.pattern)) {
      room -= name.length;
      if (room < 0) return each;
      names.push(name);
    }
    return { ...each, names };
  };
  return [...all].sort((a, b) => a.channels - b.channels).map(named);
}
