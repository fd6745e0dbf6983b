/** Each step from a token to a decision: the token, the channel, the access view. */
import type {
  AccessCondition,
  AccessStep,
  Explanation,
  Need,
  ResolutionStep,
  TokenCheck,
  TokenStep,
} from '../../api/types.ts';
import { type Child, element } from '../dom/element.ts';
import { copyable } from '../parts/copy.ts';
import { badge, panel, type Tone, table } from '../parts/parts.ts';

const VERDICTS: Readonly<Record<Explanation['verdict'], readonly [title: string, tone: Tone]>> = {
  allowed: ['May join', 'good'],
  refused: ['May not join', 'bad'],
  unknown: ['Not known now', 'warn'],
};
const TOKENS: Readonly<Record<TokenStep['state'], readonly [text: string, tone: Tone | undefined]>> = {
  verified: ['verified', 'good'],
  assumed: ['assumed', 'ice'],
  none: ['no token', undefined],
  refused: ['refused', 'bad'],
};
const ACCESS: Readonly<Record<AccessStep['state'], readonly [text: string, tone: Tone]>> = {
  allowed: ['a row fits', 'good'],
  open: ['open to all', 'good'],
  denied: ['no row fits', 'bad'],
  missing: ['missing', 'bad'],
  failed: ['could not be asked', 'warn'],
};
const CONDITIONS: Readonly<Record<AccessCondition['state'], readonly [text: string, tone: Tone | undefined]>> = {
  ok: ['ok', 'good'],
  missing: ['claim missing', 'bad'],
  invalid: ['invalid', 'bad'],
  'no row': ['no row', 'bad'],
  unknown: ['not asked', undefined],
};

export function explanationPanels(explanation: Explanation): HTMLElement[] {
  const { verdict, channel, summary, needed, token, resolution, access, told } = explanation;
  const [title, tone] = VERDICTS[verdict];
  return [
    element(
      'section',
      { class: 'panel verdict', 'data-tone': tone, 'data-key': 'verdict', 'aria-labelledby': 'verdict-title' },
      element('h2', { id: 'verdict-title' }, title, ' ', element('code', { class: 'breakable' }, channel)),
      // Otherwise the first need says the same.
      needed.length === 0 && element('p', { class: 'breakable' }, summary),
      needed.length > 0 && element('h3', {}, 'What would be needed'),
      needed.length > 0 && element('ol', { class: 'needs' }, ...needed.map(need)),
      told !== null &&
        element(
          'p',
          { class: 'note breakable' },
          'The client receives ',
          element('code', {}, told.code),
          `: ${told.message}`,
        ),
    ),
    panel({ id: 'step-token', title: '1. The token', tools: [badge(...TOKENS[token.state])] }, ...tokenStep(token)),
    panel(
      {
        id: 'step-channel',
        title: '2. The channel',
        tools: [resolution.state === 'found' ? badge('found', 'good') : badge('refused', 'bad')],
      },
      ...resolutionStep(resolution),
    ),
    ...(access === null
      ? []
      : [
          panel(
            { id: 'step-access', title: '3. The access view', tools: [badge(...ACCESS[access.state])] },
            ...accessStep(access),
          ),
        ]),
  ];
}

function need({ text, remedy }: Need): HTMLElement {
  return element('li', {}, element('p', { class: 'breakable' }, text), remedy && copyable(remedy.text));
}

function tokenStep({ code, message, checks, claims }: TokenStep): Child[] {
  return [
    message !== null && element('p', { class: 'fault' }, code !== null && element('code', {}, `${code} `), message),
    checks.length > 0 && element('h3', {}, 'Checks'),
    checks.length > 0 &&
      table({
        caption: 'Checks of the token',
        columns: [
          { title: 'Check', cell: ({ name }: TokenCheck) => name },
          { title: 'Result', cell: ({ isRight }) => rightness(isRight) },
          { title: 'The token has', cell: ({ found }) => text(found) },
          { title: 'Wanted', cell: ({ wanted }) => text(wanted) },
        ],
        rows: checks,
        keyOf: ({ name }) => name,
        empty: '',
      }),
    claims !== null && element('h3', {}, 'Claims'),
    claims !== null &&
      element('pre', { class: 'claims', tabindex: 0, 'aria-label': 'Claims' }, JSON.stringify(claims, null, 2)),
  ];
}

function resolutionStep({ pattern, code, message, meant, values }: ResolutionStep): Child[] {
  return [
    message !== null && element('p', { class: 'fault' }, code !== null && element('code', {}, `${code} `), message),
    meant !== null && element('p', {}, 'Probably meant: ', element('code', {}, meant)),
    pattern !== null && element('p', {}, 'Channel view ', element('code', {}, pattern)),
    values.length > 0 &&
      table({
        caption: "Values of the channel's name",
        columns: [
          { title: 'Placeholder', cell: ({ name }: ResolutionStep['values'][number]) => element('code', {}, name) },
          { title: 'Value', cell: ({ value }) => text(value) },
          { title: 'Type', cell: ({ type }) => type },
          { title: 'Valid', cell: ({ isValid }) => rightness(isValid) },
        ],
        rows: values,
        keyOf: ({ name }) => name,
        empty: '',
      }),
  ];
}

function accessStep({ view, message, definition, conditions, filters }: AccessStep): Child[] {
  return [
    element('p', {}, element('code', { class: 'breakable' }, view)),
    message !== null && element('p', { class: 'fault' }, message),
    conditions.length > 0 && element('h3', {}, 'What is compared'),
    conditions.length > 0 &&
      table({
        caption: 'Columns of the access view that are compared',
        columns: [
          { title: 'Column', cell: ({ column }: AccessCondition) => element('code', {}, column) },
          { title: 'Result', cell: ({ state }) => badge(...CONDITIONS[state]) },
          { title: 'Compared with', cell: comparedWith },
          { title: 'Type', cell: ({ type }) => type },
          { title: 'Row with it alone', cell: ({ hasRowAlone }) => yesNo(hasRowAlone) },
          { title: 'With those before it', cell: ({ hasRowSoFar }) => yesNo(hasRowSoFar) },
          { title: 'With all others', cell: ({ hasRowWithout }) => yesNo(hasRowWithout) },
          { title: 'Why', cell: ({ message: why }) => why ?? '–' },
        ],
        rows: conditions,
        keyOf: ({ column }) => column,
        empty: '',
      }),
    filters !== null && filters.length > 0 && element('h3', {}, 'Conditions of the view itself'),
    filters !== null &&
      filters.length > 0 &&
      element(
        'ul',
        { class: 'filters' },
        ...filters.map((filter) =>
          element(
            'li',
            {},
            filter.holds === null ? badge('not asked') : filter.holds ? badge('holds', 'good') : badge('fails', 'bad'),
            ' ',
            element('code', { class: 'breakable' }, filter.text),
          ),
        ),
      ),
    definition !== null && element('h3', {}, 'Its definition'),
    definition !== null &&
      element('pre', { class: 'claims', tabindex: 0, 'aria-label': `Definition of ${view}` }, definition),
  ];
}

function comparedWith({ by, column, wanted }: AccessCondition): HTMLElement {
  const source = by === 'channel' ? "the channel's name" : `claim ${column}`;
  return element(
    'span',
    { class: 'links' },
    element('span', { class: 'note' }, source),
    ...wanted.map((value) => element('code', { class: 'breakable' }, value)),
  );
}

const text = (value: string | null): Child => (value === null ? '–' : element('code', { class: 'breakable' }, value));

function rightness(isRight: boolean | null): HTMLElement {
  if (isRight === null) return badge('not checked');
  return isRight ? badge('right', 'good') : badge('wrong', 'bad');
}

const yesNo = (is: boolean | null) => (is === null ? '–' : is ? 'yes' : 'no');
