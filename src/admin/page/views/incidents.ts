import type { Incident, Incidents } from '../../api/types.ts';
import { changed } from '../dom/drawing.ts';
import { type Child, element } from '../dom/element.ts';
import { ago, count } from '../format.ts';
import { badge, panel, prose, type Tone, table, withData } from '../parts/parts.ts';
import type { Polls, Source } from '../poll.ts';
import type { View } from '../view.ts';

type Kind = Incident['kind'];

const KINDS: Readonly<Record<Kind, readonly [text: string, many: string, tone: Tone]>> = {
  error: ['error', 'Errors', 'bad'],
  denial: ['denial', 'Denials', 'warn'],
  reset: ['reset', 'Resets', 'violet'],
  limit: ['limit', 'Limits', 'ice'],
};

export class IncidentsView implements View {
  readonly id = 'incidents';
  readonly title = 'Incidents';
  readonly #polls: Polls;
  readonly #incidents: Source<Incidents>;
  #kind: Kind | undefined;

  constructor(polls: Polls) {
    this.#polls = polls;
    this.#incidents = {
      key: 'incidents',
      everyMs: 3_000,
      path: () => `api/incidents${this.#kind === undefined ? '' : `?kind=${this.#kind}`}`,
    };
  }

  sources(): readonly Source<unknown>[] {
    return [this.#incidents];
  }

  draw(): readonly Child[] {
    const kinds: readonly (Kind | undefined)[] = [undefined, 'error', 'denial', 'reset', 'limit'];
    return [
      panel(
        {
          id: 'incidents',
          title: 'Errors, denials and resets',
          note: 'Equal ones are counted, since the start.',
          tools: [
            element(
              'div',
              { class: 'choices', role: 'group', 'aria-label': 'Kinds shown' },
              ...kinds.map((kind) => this.#choice(kind)),
            ),
          ],
        },
        ...withData(this.#polls.get(this.#incidents), ({ incidents }) => [
          incidentTable(
            incidents,
            this.#kind === undefined
              ? 'Nothing has happened since the start.'
              : 'Nothing of this kind has happened since the start.',
          ),
        ]),
      ),
    ];
  }

  #choice(kind: Kind | undefined): HTMLElement {
    return element(
      'button',
      {
        type: 'button',
        class: 'quiet small',
        'aria-pressed': String(kind === this.#kind),
        onclick: () => {
          this.#kind = kind;
          changed();
          this.#polls.refresh();
        },
      },
      kind === undefined ? 'All' : KINDS[kind][1],
    );
  }
}

function incidentTable(incidents: readonly Incident[], empty: string): HTMLElement {
  return table({
    caption: 'Errors, denials and resets, newest first',
    columns: [
      { title: 'Code', cell: ({ code }) => element('code', {}, code) },
      { title: 'Kind', cell: ({ kind, level }) => badge(KINDS[kind][0], level === 'error' ? 'bad' : KINDS[kind][2]) },
      { title: 'Count', cell: ({ count: times }) => count(times), isNumber: true },
      { title: 'Last', cell: ({ lastAt }) => ago(lastAt) },
      {
        title: 'What happened, what to do',
        cell: ({ cause, channel, hint }) =>
          element(
            'div',
            { class: 'story' },
            element('p', { class: 'breakable' }, cause),
            channel !== null && element('p', { class: 'breakable' }, element('code', {}, channel)),
            element('p', { class: 'hint' }, ...prose(hint)),
          ),
      },
      { title: 'First', cell: ({ firstAt }) => ago(firstAt) },
    ],
    rows: incidents,
    keyOf: ({ kind, code, firstAt }) => `${kind} ${code} ${firstAt}`,
    empty,
  });
}
