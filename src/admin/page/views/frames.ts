/**
 * The live frames of a channel, newest first. Values stay hidden until the reader asks for them.
 */
import type { LiveEvent } from '../../api/types.ts';
import { type Child, element } from '../dom/element.ts';
import { bytes, clock, counted } from '../format.ts';
import { badge, empty, panel, type Tone } from '../parts/parts.ts';
import type { FrameFeed, ShownFrame } from './frame-feed.ts';

const TONES: Readonly<Record<LiveEvent['op'], Tone>> = {
  insert: 'good',
  update: 'ice',
  delete: 'bad',
  truncate: 'bad',
  message: 'violet',
};

export function framesPanel(feed: FrameFeed): HTMLElement {
  const { frames, problem, hasValues, isPaused } = feed;
  const toggle = (text: string, isOn: boolean, set: (isOn: boolean) => void) =>
    element(
      'button',
      { type: 'button', class: 'quiet small', 'aria-pressed': String(isOn), onclick: () => set(!isOn) },
      text,
    );
  return panel(
    {
      id: 'frames',
      title: 'Live frames',
      note: isPaused ? 'Paused.' : 'Newest first. Fast channels are sampled.',
      tools: [
        toggle('Show values', hasValues, (isOn) => feed.showValues(isOn)),
        toggle('Pause', isPaused, (isOn) => feed.pause(isOn)),
      ],
    },
    problem !== undefined && element('p', { class: 'fault', role: 'alert' }, problem),
    frames.length === 0
      ? empty(isPaused ? 'Paused: no frame is shown.' : 'Waiting for the next commit that changes this channel.')
      : element(
          'ol',
          { class: 'frames', tabindex: 0, 'aria-label': 'Live frames, newest first' },
          ...frames.flatMap(frameItems),
        ),
  );
}

function frameItems({ number, frame, skippedBefore }: ShownFrame): HTMLElement[] {
  const { committedAt, xid, lsn, position, count, events } = frame;
  const hidden = (count ?? 0) - (events?.length ?? 0);
  const item = element(
    'li',
    { 'data-key': `frame ${number}` },
    element(
      'p',
      { class: 'frame-head', title: `position ${position}` },
      element('b', {}, committedAt === null ? 'message' : clock(committedAt)),
      lsn !== null && element('code', {}, lsn),
      xid !== null && element('span', {}, `xid ${xid}`),
      element('span', {}, bytes(frame.bytes)),
    ),
    ...runsOf(events ?? []).map(([event, times]) => eventLine(event, times, frame.event)),
    events === null
      ? element('p', { class: 'note' }, 'Too large to be shown here.')
      : hidden > 0 && element('p', { class: 'note' }, `and ${counted(hidden, 'more event', 'more events')}`),
  );
  if (skippedBefore === 0) return [item];
  const gap = element(
    'li',
    { class: 'gap', 'data-key': `gap ${number}` },
    `${counted(skippedBefore, 'frame')} not shown`,
  );
  return [item, gap];
}

/** Joins equal neighbours, with their number: without values, the rows of a commit look alike. */
function runsOf(events: readonly LiveEvent[]): (readonly [event: LiveEvent, times: number])[] {
  const runs: [LiveEvent, number][] = [];
  for (const event of events) {
    const last = runs.at(-1);
    if (last !== undefined && JSON.stringify(last[0]) === JSON.stringify(event)) last[1]++;
    else runs.push([event, 1]);
  }
  return runs;
}

function eventLine({ op, columns, key, data }: LiveEvent, times: number, name: string | null): HTMLElement {
  const kind = op === 'message' && name !== null ? `${op} “${name}”` : op;
  const title = times === 1 ? kind : `${times} × ${kind}`;
  const value: unknown = data ?? key;
  const content: Child =
    value === undefined
      ? element('span', { class: 'columns' }, columns.join(', '))
      : element('pre', {}, JSON.stringify(value, null, 1).replaceAll(/\n */g, ' '));
  return element('div', { class: 'event' }, badge(title, TONES[op]), content);
}
