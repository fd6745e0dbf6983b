/** The parts of every view: panels, tables, badges, and their forms without data. */
import type { ApiProblem } from '../../api/types.ts';
import { type Child, element, svgElement } from '../dom/element.ts';
import type { Known } from '../poll.ts';

export type Tone = 'good' | 'warn' | 'bad' | 'ice' | 'violet';

export interface PanelHead {
  readonly id: string;
  readonly title: string;
  /** Beside the title. */
  readonly note?: string | undefined;
  /** At the right edge. */
  readonly tools?: readonly Child[];
}

export function panel({ id, title, note, tools = [] }: PanelHead, ...children: readonly Child[]): HTMLElement {
  return element(
    'section',
    { class: 'panel', 'data-key': id, 'aria-labelledby': `panel-${id}` },
    element(
      'header',
      {},
      element('h2', { id: `panel-${id}` }, title),
      note !== undefined && element('p', { class: 'note' }, note),
      ...(tools.length === 0 ? [] : [element('div', { class: 'push tools' }, ...tools)]),
    ),
    ...children,
  );
}

/** Draws the data, or says that it is loading or why it is missing. Old data stays in sight. */
export function withData<Data>({ data, fault }: Known<Data>, draw: (data: Data) => readonly Child[]): Child[] {
  // The page itself says that the server does not answer or wants a token.
  const problem = fault?.kind === 'refused' ? faultBox(fault) : undefined;
  if (data !== undefined) return [problem, ...draw(data)];
  return [problem ?? element('p', { class: 'loading' }, 'Loading …')];
}

export function faultBox({ code, message }: ApiProblem): HTMLElement {
  return element('p', { class: 'fault', role: 'alert' }, element('code', {}, code), ` ${message}`);
}

/** Text whose `code` stands between backticks, as the messages of Snö have it. */
export function prose(text: string): Child[] {
  return text.split('`').map((part, index) => (index % 2 === 0 ? part : element('code', {}, part)));
}

export const empty = (text: string) => element('p', { class: 'empty' }, text);

export const badge = (text: string, tone?: Tone) => element('span', { class: 'badge', 'data-tone': tone }, text);

export function facts(...pairs: readonly (readonly [name: string, value: Child])[]): HTMLElement {
  return element(
    'dl',
    { class: 'facts' },
    ...pairs.map(([name, value]) => element('div', {}, element('dt', {}, name), element('dd', {}, value))),
  );
}

export interface Column<Row> {
  readonly title: string;
  readonly cell: (row: Row) => Child;
  /** Numbers are at the right edge. */
  readonly isNumber?: boolean;
}

export interface Table<Row> {
  /** Read out before the table. */
  readonly caption: string;
  /** The first column is the row's heading. */
  readonly columns: readonly Column<Row>[];
  readonly rows: readonly Row[];
  readonly keyOf: (row: Row) => string;
  /** Shown instead of a table without rows. */
  readonly empty: string;
  /** More about a row, below it. Undefined: the row is closed. */
  readonly more?: (row: Row) => Child;
}

export function table<Row>({ caption, columns, rows, keyOf, empty: none, more }: Table<Row>): HTMLElement {
  if (rows.length === 0) return empty(none);
  const cells = (row: Row) =>
    columns.map(({ title, cell, isNumber = false }, index) =>
      index === 0
        ? element('th', { scope: 'row' }, cell(row))
        : element('td', { class: isNumber && 'end', 'data-label': title }, cell(row)),
    );
  const rowsOf = (row: Row) => {
    const key = keyOf(row);
    const drawn = element('tr', { 'data-key': key }, ...cells(row));
    const below = more?.(row);
    if (below === undefined || below === false) return [drawn];
    const cell = element('td', { colspan: columns.length }, below);
    return [drawn, element('tr', { 'data-key': `${key} more`, class: 'more' }, cell)];
  };
  return element(
    'div',
    { class: 'table', tabindex: 0, role: 'group', 'aria-label': caption },
    element(
      'table',
      { class: 'cards' },
      element('caption', { class: 'visually-hidden' }, caption),
      element(
        'thead',
        {},
        element(
          'tr',
          {},
          ...columns.map(({ title, isNumber = false }) =>
            element('th', { scope: 'col', class: isNumber && 'end' }, title),
          ),
        ),
      ),
      element('tbody', {}, ...rows.flatMap(rowsOf)),
    ),
  );
}

export interface Fullness {
  readonly label: string;
  readonly value: number;
  readonly max: number;
  /** What a screen reader says for the value. */
  readonly text: string;
  readonly tone: Tone;
}

/** A bar that shows how full something is. */
export function meter({ label, value, max, text, tone }: Fullness): HTMLElement {
  const share = max > 0 ? Math.min(1, Math.max(0, value / max)) : 0;
  return element(
    'div',
    {
      class: 'meter',
      role: 'meter',
      'data-tone': tone,
      'aria-label': label,
      'aria-valuenow': Math.round(share * 100),
      'aria-valuemin': 0,
      'aria-valuemax': 100,
      'aria-valuetext': text,
    },
    svgElement('svg', { 'aria-hidden': 'true' }, svgElement('rect', { width: `${share * 100}%`, height: '100%' })),
  );
}
