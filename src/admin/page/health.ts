/** The line with the verdict on the service, and each cause with what ends it. */
import type { Cause, CauseLevel, Health, Panel, Session } from '../api/types.ts';
import { type Child, element } from './dom/element.ts';
import { counted, duration } from './format.ts';
import { copyable } from './parts/copy.ts';
import { badge, prose, type Tone } from './parts/parts.ts';
import type { Known } from './poll.ts';
import { addressOf } from './view.ts';

export interface HealthState {
  readonly health: Known<Health>;
  readonly session: Session | undefined;
  /** Whether the service does not answer. */
  readonly isLost: boolean;
  /** Whether to draw the causes too. */
  readonly isWhole: boolean;
}

const TONES: Readonly<Record<Health['verdict'], Tone>> = { healthy: 'good', degraded: 'warn', failing: 'bad' };
const TITLES: Readonly<Record<Health['verdict'], string>> = {
  healthy: 'Healthy',
  degraded: 'Degraded',
  failing: 'Failing',
};
const LEVELS: Readonly<Record<CauseLevel, readonly [string, Tone | undefined]>> = {
  failing: ['failing', 'bad'],
  degraded: ['degraded', 'warn'],
  notice: ['notice', undefined],
};
const PANELS: Readonly<Record<Panel, readonly [view: string, text: string]>> = {
  slot: ['overview', 'Slot'],
  rates: ['overview', 'Rates'],
  channels: ['channels', 'Channels'],
  connections: ['connections', 'Connections'],
  incidents: ['incidents', 'Incidents'],
  processes: ['processes', 'Processes'],
  settings: ['settings', 'Settings'],
};

export function healthLine(state: HealthState): { readonly title: string; readonly drawn: HTMLElement } {
  const { health, session, isLost, isWhole } = state;
  const { data, fault } = health;
  const about = session && aboutText(session, data?.at ?? session.now);
  if (isLost) return drawn('bad', 'No answer', 'The service does not answer. Trying again every 2 seconds.', about);
  if (data === undefined)
    return fault?.kind === 'refused'
      ? drawn('bad', 'Unknown', `${fault.code}: ${fault.message}`, about)
      : drawn(undefined, 'Connecting', 'Asking the service.', about);
  const { verdict, summary, causes } = data;
  const link =
    !isWhole &&
    causes.length > 0 &&
    element('a', { href: addressOf('overview') }, counted(causes.length, verdict === 'healthy' ? 'notice' : 'cause'));
  const list = isWhole && causes.length > 0 && element('ul', { class: 'causes' }, ...causes.map(causeItem));
  // The verdict is already shown in front of it.
  const text = summary.replace(new RegExp(`^${verdict}(: )?`), '');
  return drawn(TONES[verdict], TITLES[verdict], text || 'Everything works.', about, link, list);
}

/** `now` is by the clock of the service, as all its times are. */
function aboutText({ version, slot, startedAt }: Session, now: number): string {
  return `Snö ${version} · slot ${slot} · up ${duration(Math.max(0, now - startedAt) / 1000)}`;
}

function drawn(
  tone: Tone | undefined,
  title: string,
  text: string,
  about: string | undefined,
  link?: Child,
  list?: Child,
): { readonly title: string; readonly drawn: HTMLElement } {
  const line = element(
    'div',
    { class: 'line' },
    element('span', { class: 'lamp', 'aria-hidden': 'true' }),
    element('strong', {}, title),
    element('span', { class: 'summary' }, text),
    link,
    about !== undefined && element('span', { class: 'note' }, about),
  );
  return {
    title,
    drawn: element('section', { class: 'health', 'data-tone': tone, 'aria-label': 'Health' }, line, list),
  };
}

function causeItem({ level, code, message, hint, remedy, panel }: Cause): HTMLElement {
  const [word, tone] = LEVELS[level];
  const [view, text] = panel === null ? [undefined, ''] : PANELS[panel];
  const [first = '', ...place] = message.split('\n');
  return element(
    'li',
    { 'data-code': code },
    element(
      'p',
      { class: 'what' },
      badge(word, tone),
      element('span', {}, first),
      view !== undefined && view !== 'overview' && element('a', { href: addressOf(view) }, text),
    ),
    place.length > 0 && element('pre', { class: 'place', tabindex: 0, 'aria-label': first }, place.join('\n')),
    hint !== remedy?.text && element('p', { class: 'hint' }, ...prose(hint)),
    remedy && copyable(remedy.text),
  );
}
