/** The search text, and the offset in a list that the server returns in pages. */
import type { Page } from '../../api/types.ts';
import { changed } from '../dom/drawing.ts';
import { element } from '../dom/element.ts';
import { count } from '../format.ts';

const PAGE_ROWS = 50;
/** Maximum offset that the server accepts. A search finds further items. */
const OFFSET_MAX = 1_000;
/** Pause after the last key before the server is asked, in ms. */
const TYPING_MS = 250;

export class Search {
  #text = '';
  #offset = 0;
  #timer: number | undefined;
  readonly #label: string;
  readonly #ask: () => void;

  /** `ask` is called when the list must be requested again. */
  constructor(label: string, ask: () => void) {
    this.#label = label;
    this.#ask = ask;
  }

  /** The query string that selects the items. */
  get query(): string {
    return `offset=${this.#offset}&limit=${PAGE_ROWS}${this.#text === '' ? '' : `&search=${encodeURIComponent(this.#text)}`}`;
  }

  get text(): string {
    return this.#text;
  }

  field(): HTMLElement {
    return element('input', {
      type: 'search',
      placeholder: this.#label,
      'aria-label': this.#label,
      autocomplete: 'off',
      spellcheck: 'false',
      value: this.#text,
      oninput: ({ currentTarget }) => {
        this.#text = (currentTarget as HTMLInputElement).value.trim();
        this.#offset = 0;
        window.clearTimeout(this.#timer);
        this.#timer = window.setTimeout(this.#ask, TYPING_MS);
        changed();
      },
    });
  }

  /** `1–50 of 1,234`, with buttons to go on. Undefined: all fits on one page. */
  pages({ total, offset }: Page): HTMLElement | undefined {
    if (total <= PAGE_ROWS && offset === 0) return undefined;
    const step = (title: string, to: number, isPossible: boolean) =>
      element(
        'button',
        { type: 'button', class: 'quiet small', disabled: !isPossible, onclick: () => this.#goTo(to) },
        title,
      );
    const last = Math.min(total, offset + PAGE_ROWS);
    return element(
      'div',
      { class: 'pages' },
      element('span', { class: 'note' }, `${count(Math.min(total, offset + 1))}–${count(last)} of ${count(total)}`),
      step('Previous', Math.max(0, offset - PAGE_ROWS), offset > 0),
      step('Next', offset + PAGE_ROWS, last < total && offset + PAGE_ROWS <= OFFSET_MAX),
    );
  }

  #goTo(offset: number): void {
    this.#offset = offset;
    this.#ask();
  }
}
