/** The channels of a pattern that have subscribers, to choose one from. */
import type { ActiveChannels } from '../../api/types.ts';
import { element } from '../dom/element.ts';
import { count } from '../format.ts';
import { panel, table, withData } from '../parts/parts.ts';
import type { Known, Source } from '../poll.ts';
import { addressOf } from '../view.ts';
import { nameForm } from './name-form.ts';

/** No channel has a brace in its name. */
export const isPattern = (name: string): boolean => name.includes('{');

export const activeOf = (pattern: string): Source<ActiveChannels> => ({
  key: `active ${pattern}`,
  everyMs: 3_000,
  path: () => `api/channels/active?limit=100&pattern=${encodeURIComponent(pattern)}`,
});

export function activePanel(pattern: string, known: Known<ActiveChannels>): HTMLElement {
  return panel(
    {
      id: 'active',
      title: 'Active channels',
      note: 'Those with most subscribers first.',
      tools: [
        nameForm('', 'Inspect', (wanted) => {
          location.hash = addressOf('channel', wanted);
        }),
      ],
    },
    element('p', { class: 'channel-name breakable' }, element('code', {}, pattern)),
    ...withData(known, (active) => [
      activeTable(active),
      active.isComplete
        ? undefined
        : element(
            'p',
            { class: 'note' },
            `The first ${count(active.channels.length)} are shown. Write another name above.`,
          ),
    ]),
  );
}

function activeTable({ channels }: ActiveChannels): HTMLElement {
  return table({
    caption: 'Active channels, those with most subscribers first',
    columns: [
      {
        title: 'Channel',
        cell: ({ name }) =>
          element('a', { href: addressOf('channel', name), class: 'breakable' }, element('code', {}, name)),
      },
      { title: 'Subscribers', cell: ({ subscribers }) => count(subscribers), isNumber: true },
      { title: 'Members', cell: ({ members }) => (members === 0 ? '–' : count(members)), isNumber: true },
    ],
    rows: channels,
    keyOf: ({ name }) => name,
    empty: 'No channel of this pattern has a subscriber.',
  });
}
