import type { EffectiveSetting, EffectiveSettings } from '../../api/types.ts';
import { changed } from '../dom/drawing.ts';
import { type Child, element } from '../dom/element.ts';
import { bytes } from '../format.ts';
import { badge, panel, prose, type Tone, table, withData } from '../parts/parts.ts';
import type { Polls, Source } from '../poll.ts';
import type { View } from '../view.ts';

const SETTINGS: Source<EffectiveSettings> = { key: 'settings', everyMs: 60_000, path: () => 'api/settings' };
const SOURCES: Readonly<Record<EffectiveSetting['source'], readonly [text: string, tone: Tone | undefined]>> = {
  default: ['default', undefined],
  environment: ['environment', 'ice'],
  flag: ['flag', 'violet'],
  unset: ['not set', undefined],
};

export class SettingsView implements View {
  readonly id = 'settings';
  readonly title = 'Settings';
  readonly #polls: Polls;
  #text = '';
  #isChangedOnly = false;

  constructor(polls: Polls) {
    this.#polls = polls;
  }

  sources(): readonly Source<unknown>[] {
    return [SETTINGS];
  }

  draw(): readonly Child[] {
    return [
      panel(
        {
          id: 'settings',
          title: 'Settings in force',
          note: 'Secrets are never shown.',
          tools: [this.#changedOnly(), this.#field()],
        },
        ...withData(this.#polls.get(SETTINGS), ({ settings }) => [settingTable(settings.filter(this.#isShown))]),
      ),
    ];
  }

  readonly #isShown = ({ name, value, description, source }: EffectiveSetting): boolean => {
    if (this.#isChangedOnly && source !== 'environment' && source !== 'flag') return false;
    const text = `${name} ${value ?? ''} ${description}`.toLowerCase();
    return text.includes(this.#text);
  };

  #changedOnly(): HTMLElement {
    const onclick = () => {
      this.#isChangedOnly = !this.#isChangedOnly;
      changed();
    };
    return element(
      'button',
      { type: 'button', class: 'quiet small', 'aria-pressed': String(this.#isChangedOnly), onclick },
      'Only those that were set',
    );
  }

  #field(): HTMLElement {
    return element('input', {
      type: 'search',
      placeholder: 'Search settings',
      'aria-label': 'Search settings',
      autocomplete: 'off',
      oninput: ({ currentTarget }) => {
        this.#text = (currentTarget as HTMLInputElement).value.trim().toLowerCase();
        changed();
      },
    });
  }
}

function settingTable(settings: readonly EffectiveSetting[]): HTMLElement {
  return table({
    caption: 'Settings in force',
    columns: [
      { title: 'Setting', cell: ({ name }) => element('code', {}, name) },
      { title: 'Value', cell: shownValue },
      { title: 'From', cell: sourceOf },
      {
        title: 'Default',
        cell: ({ default: text }) => (text === null ? '–' : element('code', { class: 'breakable' }, text)),
      },
      { title: 'Meaning', cell: ({ description }) => element('span', { class: 'hint' }, ...prose(description)) },
    ],
    rows: settings,
    keyOf: ({ name }) => name,
    empty: 'No setting matches.',
  });
}

/** With a size also in words: `8589934592` is hard to read. */
function shownValue({ name, value }: EffectiveSetting): Child {
  if (value === null) return '–';
  const shown = element('code', { class: 'breakable' }, value);
  const size = Number(value);
  if (!name.endsWith('_BYTES') || !(size >= 1024)) return shown;
  return element('span', { class: 'lines' }, shown, element('span', { class: 'note' }, bytes(size)));
}

function sourceOf({ source, from, name }: EffectiveSetting): HTMLElement {
  const [text, tone] = SOURCES[source];
  return badge(from === null || from === name ? text : `${text}: ${from}`, tone);
}
