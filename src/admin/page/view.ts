import type { Child } from './dom/element.ts';
import type { Source } from './poll.ts';

/** One of the pages in the navigation. */
export interface View {
  /** First part of the address: `#/channels`. */
  readonly id: string;
  readonly title: string;
  /** What it asks the server for. `name` is the rest of the address. */
  sources(name: string): readonly Source<unknown>[];
  draw(name: string): readonly Child[];
  /** Called when the reader leaves the view. */
  leave?(): void;
}

/** A link to a view, or to a part of it. */
export const addressOf = (view: string, name = '') => `#/${view}${name === '' ? '' : `/${encodeURIComponent(name)}`}`;
